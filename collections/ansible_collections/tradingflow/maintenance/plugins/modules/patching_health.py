#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patching_health
short_description: Compare the platform's health with that before hosts were patched
version_added: "0.1.0"
description:
  - Compares checks of M(tradingflow.maintenance.application_checks) and M(tradingflow.maintenance.trading_checks) with
    those before the first host was patched, on the runner.
  - Critical is what is critical and was not, a count of bad things that grew, and what is no longer known. What was
    critical or unknown before is a warning.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  areas:
    description: Areas that are compared. One of which O(now) has nothing is unknown.
    type: list
    elements: str
    choices: [system, application, trading]
    required: true
  before:
    description: Checks before, as the modules give them.
    type: list
    elements: dict
    default: []
  now:
    description: Checks after.
    type: list
    elements: dict
    required: true
  wait:
    description: Seconds to wait when something is worse, before the next measurement.
    type: int
    default: 0
extends_documentation_fragment:
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
notes:
  - Runs on the controller.
"""

EXAMPLES = r"""
- name: Compare with before
  tradingflow.maintenance.patching_health:
    areas: [trading]
    before: "{{ before.checks }}"
    now: "{{ after.checks }}"
"""

RETURN = r"""
well:
  description: Whether nothing is worse than before.
  returned: always
  type: bool
checks:
  description: What the report shows, as contract 1.
  returned: always
  type: list
  elements: dict
"""
