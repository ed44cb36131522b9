# -*- coding: utf-8 -*-
# Copyright: The vhost-accord authors
# SPDX-License-Identifier: Apache-2.0
"""What the modules have in common."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type


class ModuleDocFragment(object):
    """Documentation of options and attributes of all modules."""

    DOCUMENTATION = r"""
options:
  root:
    description:
      - Work on the unbooted image in this directory of the managed node instead of on the running node.
    type: path
    default: /
requirements:
  - the package C(vhost-accord) on the managed node
attributes:
  check_mode:
    description: Can run in check mode and says what it would change, without changing anything.
  diff_mode:
    description: Returns details of what has changed, or would change in check mode.
  platform:
    description: Systems that the module runs on.
    support: full
    platforms: linux
author:
  - The vhost-accord authors (@vhost-accord)
"""
