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
  - Critical is what is critical and was not, what is no longer known, and of what was critical before another thing
    than the named ones, or more of them. Unknown is a check that is not there any more, and as many bad things of which
    not all are named. What was critical or unknown before is a warning, and so is what became a warning.
  - Both measurements are bound to run, host and moment. What was not measured in this run after O(after), or what is
    none of before, is unknown.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  areas:
    description: Areas that are compared. One of which O(now) has nothing is unknown.
    type: list
    elements: str
    choices: [system, application, trading]
    required: true
  run_id:
    description: The run's id; empty outside one.
    type: str
    default: ""
  before:
    description:
      - What the host kept of the platform before its patching, see M(tradingflow.maintenance.host_patching_proof).
    type: dict
    default: {}
  now:
    description: C(run), C(began) (seconds since 1970, by the runner's clock), and C(checks) as the modules give them.
    type: dict
    required: true
  after:
    description: From when on it counts, in seconds since 1970 by the runner's clock.
    type: float
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
    run_id: "{{ maintenance_run.run_id }}"
    before: "{{ proof.platform }}"
    now: {run: "{{ maintenance_run.run_id }}", began: "{{ began }}", checks: "{{ found.checks }}"}
    after: "{{ proof.at }}"
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
