#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: The vhost-accord authors
# SPDX-License-Identifier: Apache-2.0
"""Sets up the vhost-user sockets, directories and hugepages of a compute node, or restores what was there."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: vhost_accord
short_description: Set up the vhost-user sockets and hugepages of a compute node
version_added: 0.1.0
description:
  - Gives vhost-user sockets, directories and hugepages the owners and modes that OVS-DPDK and QEMU need, with
    C(vhost-accord apply), or restores what was there before, with C(vhost-accord revert).
  - No service is restarted unless O(restart=allowed).
  - The module fails if the node is broken afterwards, with the findings in its message.
extends_documentation_fragment:
  - vhost_accord.fleet.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  state:
    description:
      - V(agreed) sets up the node.
      - V(reverted) restores exactly what was there before, and removes the settings that this module wrote.
    type: str
    choices: [agreed, reverted]
    default: agreed
  restart:
    description:
      - V(never) restarts no service. What is in force only after a restart is returned in RV(waiting).
      - V(allowed) restarts the services for which something is waiting. VMs lose their network for seconds, and those with
        ports of the type C(dpdkvhostuser) until they are restarted. If the switch does not run again with its VMs
        connected, the previous state is put back and the module fails.
    type: str
    choices: [never, allowed]
    default: never
  settings:
    description:
      - The configuration, by section and key, as in C(vhost-accord.conf(5)). A list is written as words.
      - Written to C(/etc/vhost-accord/vhost-accord.conf.d/90-ansible.conf). Drop-ins of other names are left alone.
      - An empty dictionary removes that file. Without this option it is left as it is.
      - Quote V("yes") and V("no").
    type: dict
seealso:
  - module: vhost_accord.fleet.vhost_accord_info
"""

EXAMPLES = r"""
- name: Set up the node and restart nothing
  vhost_accord.fleet.vhost_accord:
    settings:
      accord:
        modes: [dpdkvhostuserclient, dpdkvhostuser]
        on-problem: refuse
  register: node

- name: Apply what waits for a restart, after the node was drained
  vhost_accord.fleet.vhost_accord:
    restart: allowed
  when: node.waiting | length > 0

- name: Set up an image
  vhost_accord.fleet.vhost_accord:
    root: /srv/images/compute

- name: Restore what was there before
  vhost_accord.fleet.vhost_accord:
    state: reverted
    restart: allowed
"""

RETURN = r"""
steps:
  description: What was changed, or would be changed in check mode, each with C(target) and C(diff).
  returned: O(state=agreed), and O(state=reverted) in check mode
  type: list
  elements: dict
undone:
  description: What became of each change that was taken back, with C(target) and C(outcome).
  returned: O(state=reverted)
  type: list
  elements: dict
waiting:
  description:
    - With O(state=agreed), the findings that end with a restart.
    - With O(state=reverted), the units that run with the previous state only after a restart.
  returned: always
  type: list
  elements: raw
restarted:
  description: The units that were restarted.
  returned: success, not in check mode
  type: list
  elements: str
findings:
  description: What is wrong with the node, without what waits for a restart.
  returned: O(state=agreed), not in check mode
  type: list
  elements: dict
summary:
  description: RV(findings) and what failed, one line each.
  returned: not in check mode
  type: list
  elements: str
"""

import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vhost_accord.fleet.plugins.module_utils.program import Program, broken, count, line_of

NAME = "90-ansible.conf"
DIRECTORY = "/etc/vhost-accord/vhost-accord.conf.d"
HEAD = "# Written by Ansible (vhost_accord.fleet.vhost_accord): changes are lost.\n"


def fill(path, text):
    """Writes a text to a file."""
    with open(path, "wb") as file:
        file.write(text.encode("utf-8"))


class Fragment(object):
    """The drop-in with the settings of the playbook."""

    def __init__(self, module):
        self.module = module
        root = os.path.realpath(module.params["root"])
        self.shown = os.path.join(DIRECTORY, NAME)
        self.directory = os.path.join(root, DIRECTORY.lstrip("/"))
        self.path = os.path.join(self.directory, NAME)
        if root != "/" and not os.path.realpath(self.path).startswith(root + "/"):
            module.fail_json(msg="{0} leads out of the image".format(self.path))
        self.before = self.read()
        self.after = self.wanted()

    def read(self):
        """What the file has now."""
        try:
            with open(self.path, "rb") as file:
                return file.read().decode("utf-8", "replace")
        except (IOError, OSError):
            if os.path.lexists(self.path):
                self.module.fail_json(msg="{0} is no file that can be read: move it away".format(self.path))
            return ""

    def wanted(self):
        """What the file shall have; nothing where it shall not be there."""
        settings = self.module.params["settings"]
        if self.module.params["state"] == "reverted":
            return ""
        if settings is None:
            return self.before
        text = "".join(self.section(name, settings[name]) for name in sorted(settings))
        return HEAD + text if text else ""

    def section(self, name, keys):
        """One section of the file."""
        if not isinstance(keys, dict):
            self.module.fail_json(msg="settings: {0} is a section: give its keys and values below it".format(name))
        lines = ["{0} = {1}\n".format(key, self.value(key, keys[key])) for key in sorted(keys)]
        return "\n[{0}]\n{1}".format(name, "".join(lines)) if lines else ""

    def value(self, key, value):
        """A value as it is written."""
        if isinstance(value, bool):
            self.module.fail_json(msg='settings: {0}: quote it: "yes" or "no"'.format(key))
        words = value if isinstance(value, list) else [value]
        text = " ".join("{0}".format(word) for word in words)
        if isinstance(value, dict) or "\n" in text or not text.strip():
            self.module.fail_json(msg="settings: {0}: expected one line of text, a number, or a list".format(key))
        return text

    def changes(self):
        """Does it differ?"""
        return self.before != self.after

    def diff(self):
        """For diff mode."""
        header = self.shown
        return {"before_header": header, "after_header": header, "before": self.before, "after": self.after}

    def proposed(self, run):
        """Calls a function with the file as it shall be, in a directory of its own."""
        place = tempfile.mkdtemp(prefix="vhost-accord", dir=self.module.tmpdir)
        try:
            path = os.path.join(place, NAME)
            fill(path, self.after)
            return run(path)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def write(self, text):
        """Puts a text in place, or takes the file away."""
        if not text:
            os.unlink(self.path)
            if not os.listdir(self.directory):
                os.rmdir(self.directory)
            return
        if not os.path.isdir(self.directory):
            os.makedirs(self.directory, 0o755)
        descriptor, path = tempfile.mkstemp(dir=self.module.tmpdir)
        os.close(descriptor)
        fill(path, text)
        self.module.atomic_move(path, self.path)
        self.module.set_mode_if_different(self.path, "0644", False)

    def tidy(self):
        """Removes the directory of the configuration where nothing else is in it: with the package there is."""
        try:
            os.rmdir(os.path.dirname(self.directory))
        except OSError:
            pass


def difference(fragment, steps):
    """For diff mode: the settings, and the node as the program shows it."""
    diff = [fragment.diff()] if fragment.changes() else []
    if steps:
        diff.append({"prepared": "".join(step["diff"] for step in steps)})
    return diff


def ended(module, result, problems):
    """Ends the module: a node that is broken is a task that failed."""
    result["summary"] = problems + [line_of(finding) for finding in result.get("findings", [])]
    bad = problems + [line_of(finding) for finding in broken(result.get("findings", []))]
    if bad:
        module.fail_json(msg="{0} left: {1}".format(count(len(bad), "problem"), "; ".join(bad)), **result)
    module.exit_json(**result)


def agree(module, program, fragment):
    """Sets up the node."""
    restart = module.params["restart"] == "allowed"
    plan = None
    if fragment.changes():
        # Settings that the program does not take are never written.
        plan = fragment.proposed(lambda path: program.run("plan", "--with", path))
    if module.check_mode:
        plan = plan or program.run("plan")
        steps, waiting = plan["steps"], plan["waiting"]
        changed = fragment.changes() or bool(steps) or restart and bool(waiting)
        module.exit_json(changed=changed, steps=steps, waiting=waiting, diff=difference(fragment, steps))
    if fragment.changes():
        fragment.write(fragment.after)
    answer = program.run("apply", *(["--restart"] if restart else []))
    keys = ("steps", "waiting", "findings", "restarted", "lost_network", "notes")
    result = dict((key, answer[key]) for key in keys)
    result["changed"] = fragment.changes() or bool(answer["steps"]) or bool(answer["restarted"])
    result["diff"] = difference(fragment, answer["steps"])
    ended(module, result, answer["failed"])


def is_restored(line):
    """Was something changed back?"""
    outcome = line["outcome"]
    return outcome == "restored" or isinstance(outcome, dict) and "restored-over" in outcome


def revert(module, program, fragment):
    """Restores what was there before."""
    restart = module.params["restart"] == "allowed"
    plan = program.run("revert", "--dry-run")
    steps, diff = plan["steps"], difference(fragment, plan["steps"])
    if module.check_mode:
        changed = fragment.changes() or bool(steps)
        module.exit_json(changed=changed, steps=steps, waiting=plan["waiting"], diff=diff)
    if fragment.changes():
        # Before: revert removes its directory only when it is empty.
        fragment.write(fragment.after)
    try:
        answer = program.run("revert", *(["--restart"] if restart else []))
    except SystemExit:
        if fragment.changes():
            fragment.write(fragment.before)
        raise
    if fragment.changes():
        fragment.tidy()
    result = dict((key, answer[key]) for key in ("undone", "waiting", "restarted"))
    restored = any(is_restored(line) for line in answer["undone"])
    result["changed"] = fragment.changes() or restored or bool(answer["restarted"])
    result["diff"] = diff
    ended(module, result, answer["failed"])


def main():
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "state": {"type": "str", "choices": ["agreed", "reverted"], "default": "agreed"},
            "restart": {"type": "str", "choices": ["never", "allowed"], "default": "never"},
            "settings": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    program = Program(module)
    if program.path is None and module.check_mode:
        module.exit_json(changed=module.params["state"] == "agreed", steps=[], waiting=[], msg="vhost-accord is not installed yet")
    program.required()
    fragment = Fragment(module)
    if module.params["state"] == "agreed":
        agree(module, program, fragment)
    revert(module, program, fragment)


if __name__ == "__main__":
    main()
