#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: The vhost-accord authors
# SPDX-License-Identifier: Apache-2.0
"""Checks the vhost-user sockets, directories and hugepages of a compute node."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: vhost_accord_info
short_description: Check the vhost-user sockets and hugepages of a compute node
version_added: 0.1.0
description:
  - Runs C(vhost-accord check) on the node and returns what it found. Changes nothing.
  - The module succeeds whatever the verdict is. Use RV(verdict) or RV(broken) to decide.
extends_documentation_fragment:
  - vhost_accord.fleet.common
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: It changes nothing.
seealso:
  - module: vhost_accord.fleet.vhost_accord
"""

EXAMPLES = r"""
- name: Check the node
  vhost_accord.fleet.vhost_accord_info:
  register: node

- name: Stop if a VM has no network
  ansible.builtin.assert:
    that: not node.broken
    fail_msg: "{{ node.summary }}"
"""

RETURN = r"""
verdict:
  description: C(agreed), C(broken), or C(unknown).
  returned: success
  type: str
  sample: agreed
broken:
  description: Whether any finding is of the level C(broken).
  returned: success
  type: bool
findings:
  description: What is wrong, each with C(id), C(level), C(subject), C(seen), C(cause) and C(fix).
  returned: success
  type: list
  elements: dict
summary:
  description: The findings, one line each.
  returned: success
  type: list
  elements: str
endpoints:
  description: The vhost-user endpoints, one for each VM's interface or port of the switch.
  returned: success
  type: list
  elements: dict
check:
  description: All that C(vhost-accord check --json) printed. C(vhost-accord compare) reads it.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vhost_accord.fleet.plugins.module_utils.program import Program, broken, line_of


def main():
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={"root": {"type": "path", "default": "/"}},
        supports_check_mode=True,
    )
    program = Program(module)
    program.required()
    check = program.run("check")
    findings = check["findings"]
    module.exit_json(
        changed=False,
        verdict=check["verdict"],
        broken=bool(broken(findings)),
        findings=findings,
        summary=[line_of(finding) for finding in findings],
        endpoints=check["endpoints"],
        check=check,
    )


if __name__ == "__main__":
    main()
