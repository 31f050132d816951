#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_run
short_description: Begin a maintenance run
version_added: "0.1.0"
description:
  - Gives the run its identifier and its folder on the controller, and locks out a second run of the same procedure in
    the same environment.
  - The lock belongs to the C(ansible-playbook) process. It is taken over when that process is gone.
  - Works out from the tags and the limit of this C(ansible-playbook) which areas must report.
  - Runs on the controller, whatever the host. Use it once per run, with C(run_once).
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  environment_name:
    description: The environment, as the inventory calls it.
    type: str
    required: true
  playbook:
    description: Name of the cadence or procedure, for example V(daily).
    type: str
    required: true
  artifacts_dir:
    description: Folder of all runs. Relative to the project, the folder with its C(ansible.cfg).
    type: path
    default: artifacts
  plan:
    description: Which areas must report from which hosts.
    type: list
    elements: dict
    default: []
    suboptions:
      area:
        description: The area.
        type: str
        required: true
      hosts:
        description: The hosts that must report.
        type: list
        elements: str
        required: true
      tags:
        description: The area is expected when one of these tags is asked for.
        type: list
        elements: str
        default: []
  lock:
    description: Whether to take the lock. Not taken in check mode.
    type: bool
    default: true
  lock_ttl:
    description:
      - Seconds after which a lock that nobody renews is taken to be left over by a dead run.
      - It is renewed while C(ansible-playbook) runs, however long that is.
    type: int
    default: 600
  history:
    description:
      - How many of the newest reports to bring back from the store where this controller lacks them, so that
        baselines, changes and missed runs are seen on a new one too. 0 for none; none in check mode.
    type: int
    default: 30
  fail_on:
    description:
      - As of M(tradingflow.maintenance.maintenance_report). Only checked here, so that a mistake ends the run at once.
    type: str
    default: critical
    choices: [warning, critical, never]
  evidence:
    description: Likewise.
  interval:
    description: Likewise.
    type: int
    default: 0
  metrics:
    description: Likewise.
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
  storage:
    required: false
extends_documentation_fragment:
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.storage
seealso:
  - module: tradingflow.maintenance.maintenance_report
"""

EXAMPLES = r"""
- name: Begin
  tradingflow.maintenance.maintenance_run:
    environment_name: production
    playbook: daily
    plan:
      - area: database
        hosts: [localhost]
        tags: [health]
  run_once: true
  register: begun
"""

RETURN = r"""
run:
  description: The run, for the option O(tradingflow.maintenance.host_checks#module:run) of all areas.
  returned: always
  type: dict
  contains:
    run_id:
      description: Its identifier.
      type: str
      sample: 20261123T204030Z-daily-1a2b3c
    directory:
      description: Its folder on the controller.
      type: str
    environment:
      description: The environment.
      type: str
    playbook:
      description: The cadence or procedure.
      type: str
    started_at:
      description: When it began, RFC 3339 UTC.
      type: str
    actor:
      description: Who started it.
      type: str
    check_mode:
      description: Whether it only looks.
      type: bool
    plan:
      description: The areas and hosts that must report.
      type: list
      elements: dict
    scope:
      description:
        - C(partial) is whether tags or a limit leave some of the plan out; C(tags), C(skip_tags) and C(limit) are what
          was asked for, C(left_out) are the areas and hosts.
        - A partial run has C(partial) in its identifier.
      type: dict
    notes:
      description: What the operator should know, such as a lock that was taken over.
      type: list
      elements: str
"""
