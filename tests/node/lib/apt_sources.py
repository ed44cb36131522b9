#!/usr/bin/env python3
"""Print the host's own Debian archives, mapped to another suite, as one-line apt sources.

usage: apt_sources.py SUITE [deb|deb-src]
"""

import glob
import os
import re
import sys
from urllib.parse import urlparse

DEBIAN_SUITES = {"bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"}
POCKETS = ("-updates", "-security")


def deb822(text):
    """Yield (types, uris, suites, components, signed_by) of every stanza that is in use."""
    text = re.sub(r"(?m)^#.*\n?", "", text)
    for stanza in re.split(r"\n\s*\n", text):
        fields = {}
        for name, value in re.findall(r"(?m)^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", stanza):
            fields[name.lower()] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        signed_by = fields.get("signed-by", "")
        yield (
            fields.get("types", "").split(),
            fields.get("uris", "").split(),
            fields.get("suites", "").split(),
            fields.get("components", "").split(),
            signed_by if signed_by.startswith("/") else "",
        )


def one_line(text):
    """The same for the older format."""
    pattern = r"(?m)^[ \t]*(deb|deb-src)[ \t]+(?:\[([^]]*)\][ \t]+)?(\S+)[ \t]+(\S+)([^#\n]*)"
    for kind, options, uri, suite, components in re.findall(pattern, text):
        signed_by = re.search(r"signed-by=(/\S+)", options)
        yield [kind], [uri], [suite], components.split(), signed_by.group(1) if signed_by else ""


def pocket_of(suite):
    """'' for the release itself, '-updates', '-security', or None for what is not wanted."""
    for pocket in POCKETS:
        if suite.endswith(pocket) and suite[: -len(pocket)] in DEBIAN_SUITES:
            return pocket
    return "" if suite in DEBIAN_SUITES else None


def is_debian_archive(uri):
    """Third parties use Debian's suite names too; only the archive has these paths."""
    return re.search(r"/debian(-security)?(/\d{8}T\d{6}Z)?/?$", urlparse(uri).path) is not None


def stanzas():
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        reader = {".list": one_line, ".sources": deb822}.get(os.path.splitext(path)[1])
        if reader and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                yield from reader(file.read())


def main():
    wanted = sys.argv[1]
    kind = sys.argv[2] if len(sys.argv) > 2 else "deb"
    lines = []
    for types, uris, suites, components, signed_by in stanzas():
        if "deb" not in types or "main" not in components:
            continue
        for uri in filter(is_debian_archive, uris):
            for pocket in map(pocket_of, suites):
                if pocket is None or (pocket and wanted == "sid"):
                    continue
                option = f"[signed-by={signed_by}] " if signed_by else ""
                line = f"{kind} {option}{uri} {wanted}{pocket} main"
                if line not in lines:
                    lines.append(line)
    if not lines:
        sys.exit("no Debian archive among the apt sources of this host")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
