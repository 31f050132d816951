#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_platform
short_description: Collect tables of the database and the ledger's records for an audit
version_added: "0.1.0"
description:
  - Writes rows of configured tables, all of them from one snapshot, and the evidence ledger's records of a period into
    a folder, with C(collected.json), which says how complete each source is.
  - A source that cannot be collected fails by itself, and says why. No source is complete unless two counts agree.
  - Runs on the controller, whatever the host. Use it with C(run_once).
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - psycopg2, boto3 and cryptography on the controller
options:
  environment_name:
    description: The environment, as the inventory calls it.
    type: str
    required: true
  staging:
    description: The folder to collect into. Made when it is not there, mode 0700.
    type: path
    required: true
  begin:
    description: When the period begins, RFC 3339 in UTC.
    type: str
    required: true
  end:
    description: When it ends. This moment no longer belongs to it.
    type: str
    required: true
  version:
    description: This collection's version, for the record.
    type: str
    default: ""
  plan:
    description: Digest of the options by which is collected, for O(tradingflow.maintenance.audit_bundle#module:plans).
    type: str
    default: ""
  database:
    description: The PostgreSQL database, for O(tables).
    required: false
  storage:
    description: The S3 store of the ledger. Without it and O(evidence), the ledger is no source.
    required: false
  evidence:
    description: The keys whose records count. See M(tradingflow.maintenance.maintenance_report).
    type: dict
  limit:
    description: Bytes that are written at most, V(0) for no limit. Of the disk 5 percent stay free in any case.
    type: int
    default: 0
  settle:
    description: So many seconds after the end of the period, tables with a time are whole. Before, they are partial.
    type: int
    default: 900
  ledger_empty_ok:
    description: Whether it is well that the ledger has no record of the period.
    type: bool
    default: false
  tables:
    description: The tables and views.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: How the source is called.
        type: str
        required: true
      relation:
        description: Table or view with its schema, such as C(maintenance.audit_log).
        type: str
        required: true
      time:
        description: Column that says when a row happened. Without it, all rows are collected.
        type: str
        default: ""
      timezone:
        description:
          - Zone of a O(tables[].time) without one (C(timestamp), C(date)), such as C(Europe/Berlin).
          - Without it, such a table has failed.
        type: str
        default: ""
      order:
        description: Columns that order the rows, so that the same rows give the same bytes.
        type: list
        elements: str
        default: []
      empty_ok:
        description: Whether it is well that there are no rows.
        type: bool
        default: false
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.storage
attributes:
  check_mode:
    description: Collects nothing.
    support: full
  diff_mode:
    description: It only reads.
    support: none
seealso:
  - module: tradingflow.maintenance.audit_bundle
"""

EXAMPLES = r"""
- name: Collect the audit log of October
  tradingflow.maintenance.audit_platform:
    environment_name: production
    staging: artifacts/audit-bundles/production/staging/_platform
    begin: "2026-10-01T00:00:00Z"
    end: "2026-11-01T00:00:00Z"
    database: "{{ tradingflow_database }}"
    tables:
      - {name: audit_log, relation: maintenance.audit_log, time: at, order: [entry_id]}
  run_once: true
"""

RETURN = r"""
collected:
  description: What was collected, as C(collected.json) says.
  returned: not in check mode
  type: dict
"""
