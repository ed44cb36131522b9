# -*- coding: utf-8 -*-
# Copyright: The vhost-accord authors
# SPDX-License-Identifier: Apache-2.0
"""Runs vhost-accord on the managed node and reads its JSON."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import json

# The version field of all JSON that this collection reads.
VERSION = 1


def count(number, noun):
    """C(1 finding), C(2 findings)."""
    return "{0} {1}{2}".format(number, noun, "" if number == 1 else "s")


def line_of(finding):
    """A finding as one line: what is wrong, where, and the fix."""
    return "{id}: {subject}: {seen} (fix: {fix})".format(**finding)


def broken(findings):
    """The findings with which a VM has no network, or will have none."""
    return [finding for finding in findings if finding["level"] == "broken"]


class Program(object):
    """The program on the managed node, for the running node or an image of one."""

    def __init__(self, module):
        self.module = module
        self.path = module.get_bin_path("vhost-accord")
        self.image = ["--root", module.params["root"]] if module.params["root"] != "/" else []

    def required(self):
        """Ends the module where the program is not installed."""
        if self.path is None:
            self.module.fail_json(msg="vhost-accord is not installed on this node: install the package vhost-accord first")

    def run(self, command, *options):
        """What a command says; the module fails where it said nothing."""
        arguments = [self.path, command, "--json"] + self.image + list(options)
        code, out, err = self.module.run_command(arguments)
        try:
            answer = json.loads(out)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            why = err.strip() or "exit code {0} and no JSON".format(code)
            self.module.fail_json(msg="{0}: {1}".format(" ".join(arguments), why), rc=code, stdout=out, stderr=err)
        if answer.get("version") != VERSION:
            why = "the package on this node has another JSON version than this collection: upgrade the older of the two"
            self.module.fail_json(msg=why, rc=code, stdout=out, stderr=err)
        return answer
