#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trading_checks
short_description: Check that strategies and platform are alive
version_added: "0.1.0"
description:
  - Measures heartbeats of the platform and of every strategy, and each strategy's expected against its observed
    state (docs/checks.md).
  - Reads the views C(strategies) and C(heartbeat) of the schema C(maintenance), which the platform's owner defines over
    tables of their own. A missing view, column or right makes its checks unknown, and the message says what to define.
  - Runs on the controller, in one session that cannot write. It reports and never changes anything.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  timeout:
    description: Seconds one statement of the checks may take; what takes longer is unknown.
    type: int
    default: 10
  thresholds:
    description:
      - From which value on a check is a warning or critical. What is left out keeps its default.
      - C(.inf) means that there is no such threshold.
    type: dict
    suboptions:
      strategy_heartbeat:
        description: Age of a strategy's heartbeat, in multiples of its expected interval.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 3
          critical:
            description: Critical from here on.
            type: float
            default: 10
      platform_heartbeat:
        description: Age of the platform's freshest heartbeat, in multiples of its expected interval.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 3
          critical:
            description: Critical from here on.
            type: float
            default: 10
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.run
"""

EXAMPLES = r"""
- name: Check trading
  tradingflow.maintenance.trading_checks:
    run: "{{ maintenance_run }}"
    database: "{{ tradingflow_database }}"
    thresholds:
      strategy_heartbeat: {critical: 5}
"""

RETURN = r"""
checks:
  description: The checks, as contract 1 (docs/checks.md).
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: always
  type: str
  sample: ok
"""
