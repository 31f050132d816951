#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: finding
short_description: Put one finding of a playbook's own into the report
version_added: "0.1.0"
description:
  - For what a playbook finds out without a module of checks, for example that a whole area failed.
  - Runs on the controller, whatever the host.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  area:
    description: The area it belongs to.
    type: str
    required: true
  name:
    description: What the check is called within its area, in snake case.
    type: str
    required: true
  title:
    description: The check's title for people.
    type: str
    required: true
  status:
    description: The judgement.
    type: str
    default: unknown
    choices: [ok, warning, unknown, critical]
  value:
    description: What was measured. Required when O(status=ok).
    type: raw
  message:
    description: The finding in one sentence.
    type: str
    default: ""
  remedy:
    description: What to do next.
    type: str
    default: ""
extends_documentation_fragment:
  - tradingflow.maintenance.run
"""

EXAMPLES = r"""
- name: Say that the area failed
  tradingflow.maintenance.finding:
    run: "{{ maintenance_run }}"
    area: database
    name: finished
    title: Checks of the database finished
    message: "{{ ansible_failed_result.msg }}"
"""

RETURN = r"""
checks:
  description: The finding, as contract 1.
  returned: always
  type: list
  elements: dict
"""
