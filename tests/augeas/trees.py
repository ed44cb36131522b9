# SPDX-License-Identifier: Apache-2.0
"""What Augeas reads in texts: {"lens", "lenses", "texts"} on standard input, a list for each text on standard output, of
[path, value] in the text's order, or null where Augeas does not take the text."""
import json
import os
import re
import sys
import tempfile

import augeas

asked = json.load(sys.stdin)
flags = augeas.Augeas.NO_MODL_AUTOLOAD | augeas.Augeas.NO_LOAD


def tree(aug, number):
    if aug.match("/augeas/files/%d/error" % number):
        return None
    base = "/files/%d/" % number
    # An index in a path counts those of the same name, and says nothing of its own.
    plain = lambda path: re.sub(r"\[\d+\]", "", path[len(base):])
    return [[plain(path), aug.get(path)] for path in aug.match(base + "/*")]


with tempfile.TemporaryDirectory() as root:
    for number, text in enumerate(asked["texts"]):
        with open(os.path.join(root, str(number)), "w", encoding="utf-8", newline="") as file:
            file.write(text)
    aug = augeas.Augeas(root=root, loadpath=asked["lenses"], flags=flags)
    aug.set("/augeas/load/Try/lens", asked["lens"])
    aug.set("/augeas/load/Try/incl", "/*")
    aug.load()
    json.dump([tree(aug, number) for number in range(len(asked["texts"]))], sys.stdout)
