#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_checks
short_description: Check the health of a PostgreSQL database
version_added: "0.1.0"
description:
  - Measures whether and how fast the database answers, its connections, transactions, locks, replication, vacuum,
    indexes, archive, cache, statements, sequences, size and clock (docs/checks.md).
  - Runs on the controller, in one session that cannot write, with a timeout on every statement.
  - A database that does not answer is critical, and all other checks are unknown then.
  - What the role may not see is unknown.
  - Growth, deadlocks and temporary files are compared with earlier reports; a first run only begins to count.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  timeout:
    description: Seconds one statement of the checks may take; what takes longer is unknown.
    type: int
    default: 10
  capacity:
    description:
      - Bytes that the database may grow to, such as the size of its disk. With it the days left until then are judged.
      - V(0) when that is not known.
    type: float
    default: 0
  replicas:
    description:
      - How many replicas should be connected; fewer are critical.
      - V(-1) for as many as an earlier report saw when all was well.
    type: int
    default: -1
  audited:
    description:
      - Tables and views whose rows are counted for each of the last three days in UTC and put on the record, so that
        rows which are missing later show, in the next run and in the audit bundle (docs/audit.md).
      - One that is not there has no check, unless an earlier run counted it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What its check is named by.
        type: str
        required: true
      relation:
        description: Schema and name, such as C(maintenance.audit_log).
        type: str
        required: true
      time:
        description: The column that says when a row happened. It should have an index.
        type: str
        required: true
      key:
        description: The column that tells rows apart. Its highest value is put on the record too.
        type: str
        default: ""
  thresholds:
    description:
      - From which value on a check is a warning or critical. What is left out keeps its default.
      - C(.inf) means that there is no such threshold.
    type: dict
    suboptions:
      latency:
        description: Milliseconds to connect and answer a first statement.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 500
          critical:
            description: Critical from here on.
            type: float
            default: 2000
      clock_skew:
        description: Seconds between the server's clock and the runner's.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 2
          critical:
            description: Critical from here on.
            type: float
            default: 10
      connections:
        description:
          - Connections used, in percent of those that ordinary users can have, or of a role's or database's own limit.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 80
          critical:
            description: Critical from here on.
            type: float
            default: 90
      longest_transaction:
        description: Seconds the oldest open transaction of a client has lasted.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 900
          critical:
            description: Critical from here on.
            type: float
            default: 3600
      blocked_sessions:
        description: Number of sessions that have waited for a lock for a second or more.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
            default: 5
      replication_slots:
        description: Bytes of WAL that a replication slot holds back.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1000000000
          critical:
            description: Critical from here on.
            type: float
            default: 10000000000
      replication_lag:
        description: Seconds a replica, or this standby, is behind.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 60
          critical:
            description: Critical from here on.
            type: float
            default: 300
      archive_waiting:
        description: Number of WAL files that wait to be archived.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 10
          critical:
            description: Critical from here on.
            type: float
            default: 100
      archive_age:
        description: Seconds the oldest WAL file has waited to be archived.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 300
          critical:
            description: Critical from here on.
            type: float
            default: 3600
      prepared_transactions:
        description: Seconds the oldest prepared transaction has been open.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 300
          critical:
            description: Critical from here on.
            type: float
            default: 3600
      xid_age:
        description: Age of the oldest unfrozen transaction id; the server stops at about 2147000000.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 500000000
          critical:
            description: Critical from here on.
            type: float
            default: 1000000000
      mxid_age:
        description: Age of the oldest unfrozen multixact id.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 500000000
          critical:
            description: Critical from here on.
            type: float
            default: 1000000000
      autovacuum_behind:
        description: Number of tables with more than three times the dead rows at which autovacuum should begin.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
            default: 10
      invalid_indexes:
        description: Number of invalid indexes.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      cache_hit:
        description: Blocks found in PostgreSQL's cache, in percent; bad downwards. Without thresholds only reported.
        type: dict
        suboptions:
          warning:
            description: Warning from here downwards.
            type: float
          critical:
            description: Critical from here downwards.
            type: float
      temporary_files:
        description: Bytes of temporary files since the last run. Without thresholds only reported.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
      size:
        description: Bytes of the database. Without thresholds it is only reported.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
      growth:
        description: MB a day that the database grows by, over the earlier reports. Without thresholds only reported.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
      days_left:
        description: Days until the database reaches O(capacity) at its present growth; bad downwards.
        type: dict
        suboptions:
          warning:
            description: Warning from here downwards.
            type: float
            default: 30
          critical:
            description: Critical from here downwards.
            type: float
            default: 7
      deadlocks:
        description: Deadlocks since the last run.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      slow_statements:
        description: Mean milliseconds of the slowest statement that other roles executed 10 times or more.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1000
          critical:
            description: Critical from here on.
            type: float
      sequences:
        description: Numbers used of the sequence that is nearest its end, in percent.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 70
          critical:
            description: Critical from here on.
            type: float
            default: 90
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.run
"""

EXAMPLES = r"""
- name: Check the database
  tradingflow.maintenance.database_checks:
    run: "{{ maintenance_run }}"
    database: "{{ tradingflow_database }}"
    thresholds:
      connections: {warning: 60}
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
server_version:
  description: Version of the server.
  returned: when the database answers
  type: str
  sample: "18.6"
in_recovery:
  description: Whether it is a standby.
  returned: when the database answers
  type: bool
"""
