#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patching_rollout
short_description: Decide which hosts are patched first, and whether the next one may follow
version_added: "0.1.0"
description:
  - Works on the controller, on what the run knows of its hosts; nothing is asked of a host.
  - Counts failures over the whole run, not per batch.
  - A canary that is not proven, or a gate that does not allow it any more, stops everything after it.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  states:
    description:
      - What the run knows of each of its hosts. Of a host that is named more than once, what is said later is added.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The host's name in the inventory.
        type: str
        required: true
      planned:
        description: Whether it has a plan that nothing forbids.
        type: bool
        default: false
      wanted:
        description: Whether there is something to do.
        type: bool
        default: false
      canary:
        description: Whether it goes before the others.
        type: bool
        default: false
      begun:
        description: Whether patching was begun on it.
        type: bool
        default: false
      well:
        description: Whether it was patched and proven.
        type: bool
        default: false
      held:
        description: Why the run may not go on, when it came to that on this host.
        type: str
        default: ""
      batch:
        description: How many hosts are patched at once.
        type: int
        default: 1
      digest:
        description: What its plan is known by.
        type: str
        default: ""
  canary:
    description: Hosts that go first, or groups of which the first host does. Empty for none.
    type: list
    elements: str
    default: []
  failures_allowed:
    description: Hosts of the whole run that may fail before the others are left alone.
    type: int
    default: 0
  batch:
    description: Hosts that begin together now.
    type: list
    elements: str
    default: []
  run:
    description: What the role C(run) hands to every area. In check mode the report then tells the order of the hosts.
    type: dict
attributes:
  check_mode:
    description: Decides the same.
    support: full
  diff_mode:
    description: Nothing changes.
    support: none
"""

EXAMPLES = r"""
- name: Ask whether this host may follow
  tradingflow.maintenance.patching_rollout:
    states:
      - {host: app1, planned: true, wanted: true, canary: true, begun: true, well: false}
      - {host: app2, planned: true, wanted: true}
  register: rollout
"""

RETURN = r"""
canaries:
  description: The hosts that go first.
  returned: success
  type: list
  elements: str
asks:
  description: The first host on which there is something to do, which asks the gates for all. Empty without any.
  returned: success
  type: str
askers:
  description:
    - Who asks the gates for each host of O(batch) - the first of those for which they go by the same variables.
  returned: success
  type: dict
actions:
  description: Who goes first, and how the plans are approved, as the report shows it.
  returned: in check mode within a run, when there is something to do
  type: list
  elements: dict
stop:
  description: Why this host is left alone; empty when it may be patched.
  returned: success
  type: str
"""
