#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_report
short_description: Finish a maintenance run with its report
version_added: "0.1.0"
description:
  - Builds the report from what the areas handed in, writes it in all its forms, appends the run to the evidence ledger,
    shows the result, and gives the lock back.
  - Areas that were expected and did not report are findings.
  - Never fails because of findings. RV(passed) says how the run must end.
  - Runs on the controller, whatever the host. Use it once per run, with C(run_once).
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  fail_on:
    description:
      - From which status on the run has not passed. What is unknown does not pass either.
      - With V(never) it always passes.
    type: str
    default: critical
    choices: [warning, critical, never]
  evidence:
    description: The ledger. Without it the run leaves no evidence, and the report says so.
  history:
    description: How many earlier runs the report looks back on.
    type: int
    default: 30
  interval:
    description:
      - Seconds between two runs of this procedure at the most. A longer gap is a finding. A run was missed then.
      - V(0) when it does not run by a schedule.
    type: int
    default: 0
  metrics:
    description: Where monitoring reads the series of whole runs, besides C(report.prom) in the run's own folder.
    type: dict
    suboptions:
      directory:
        description:
          - An existing folder on the controller, such as that of the node exporter's textfile collector. The file is
            C(tradingflow-<environment>-<playbook>.prom).
        type: path
        required: true
      group:
        description: Group of the file. This user must be a member of it, or root.
        type: str
      mode:
        description: Mode of the file, in quotes.
        type: str
        default: "0644"
        choices: ["0600", "0640", "0644"]
  run:
    required: true
  storage:
    required: false
extends_documentation_fragment:
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.run
  - tradingflow.maintenance.storage
seealso:
  - module: tradingflow.maintenance.maintenance_run
"""

EXAMPLES = r"""
- name: Report
  tradingflow.maintenance.maintenance_report:
    run: "{{ maintenance_run }}"
    fail_on: critical
  run_once: true
"""

RETURN = r"""
summary:
  description: Small and flat, for M(ansible.builtin.set_stats).
  returned: always
  type: dict
passed:
  description: Whether the run passed.
  returned: always
  type: bool
report:
  description: Path of C(report.json) on the controller.
  returned: always
  type: str
verdict:
  description: One sentence for the end of the run.
  returned: always
  type: str
"""
