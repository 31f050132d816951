#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_unlock
short_description: Release the lock that a dead run left
version_added: "0.1.0"
description:
  - Removes the lock of a procedure, on this controller and in the store, and records that in the ledger first.
  - Refuses while the run that has it can be seen to live.
  - Not often needed, as a lock that nobody renews ends by itself after some minutes
    (O(tradingflow.maintenance.maintenance_run#module:lock_ttl)).
  - Runs on the controller, whatever the host. Use it with C(run_once).
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  environment_name:
    description: The environment, as the inventory calls it.
    type: str
    required: true
  procedure:
    description: Whose lock it is, for example V(daily) or V(backup-retention).
    type: str
    required: true
  reason:
    description: Why its run is known to be dead. Becomes part of the record.
    type: str
    required: true
  artifacts_dir:
    description: Folder of all runs. Relative to the project, the folder with its C(ansible.cfg).
    type: path
    default: artifacts
  evidence:
    description: The ledger. Without it the run leaves no evidence, and the report says so.
  storage:
    required: false
extends_documentation_fragment:
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.storage
attributes:
  check_mode:
    description: Says who has the lock, and removes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
seealso:
  - module: tradingflow.maintenance.maintenance_run
"""

EXAMPLES = r"""
- name: Release the lock of a daily whose container is gone
  tradingflow.maintenance.maintenance_unlock:
    environment_name: production
    procedure: daily
    reason: The node of the container was lost at 02:10
    storage: "{{ tradingflow_storage }}"
    evidence: "{{ tradingflow_evidence }}"
  run_once: true
"""

RETURN = r"""
holders:
  description: Who had the lock, here and in the store.
  returned: success
  type: list
  elements: dict
  contains:
    run_id:
      description: The run.
      type: str
    host:
      description: Where it ran.
      type: str
    pid:
      description: Its process.
      type: int
    started_at:
      description: Since when, RFC 3339 UTC.
      type: str
    place:
      description: The file or object.
      type: str
steps:
  description: What was found and done, in words.
  returned: success
  type: list
  elements: str
"""
