#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_tuning
short_description: Judge indexes, tables, statements and settings of a PostgreSQL database
version_added: "0.1.0"
description:
  - Judges indexes that nobody reads, duplicates and invalid ones, bloat, vacuum and statistics, wraparound, sequences,
    statements, settings and pools, each with its evidence and one of three verdicts, C(safe), C(review) or C(unknown)
    (docs/tuning.md).
  - Runs on the controller, in one transaction that cannot write, with a timeout on every statement and lock.
  - What has to stay, such as primary keys, unique indexes and those that support foreign keys, is never to be dropped.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  replicas:
    description:
      - The database on every physical replica, for how its indexes are read there.
      - While more standbys are connected than are named here, nobody knows what is unused.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Its host.
        type: str
        default: localhost
      port:
        description: Its port.
        type: int
        default: 5432
      name:
        description: The database's name.
        type: str
        required: true
      user:
        description: The role to connect as.
        type: str
        required: true
      password:
        description: Its password.
        type: str
      sslmode:
        description: How TLS is used, as libpq defines it.
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
        default: verify-full
      sslrootcert:
        description: File of the CA that signed the server's certificate.
        type: path
      connect_timeout:
        description: Seconds to wait for a connection.
        type: int
        default: 10
      statement_timeout:
        description: Seconds one statement may take.
        type: int
        default: 60
  timeout:
    description: Seconds one statement may take.
    type: int
    default: 60
  cycle_days:
    description:
      - Days of a whole business cycle, with its month-end and quarter-end. An index is only called unused when
        nobody read it for as long, on any server.
      - V(0) when none is declared; then nobody knows.
    type: int
    default: 92
  read_bytes:
    description: Bytes that measuring bloat may read, the largest relations first.
    type: int
    default: 10000000000
  least_bytes:
    description: Bytes; the bloat of what is smaller is not measured.
    type: int
    default: 10000000
  memory:
    description:
      - Bytes of memory of the database's machine. V(0) when that is not known; a server on loopback is the
        controller itself.
    type: int
    default: 0
  pools:
    description: Every pool of connections that opens sessions on this server. Without any they are not judged.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is called.
        type: str
        required: true
      size:
        description: Connections that one of it may open.
        type: int
        required: true
      replicas:
        description: How many of it there are.
        type: int
        default: 1
  search_path:
    description: Schemas in which the names of recorded statements and of O(queries) are looked up.
    type: list
    elements: str
    default: [public]
  statements:
    description: How many statements are looked at, those that took the most time and those that take longest.
    type: int
    default: 20
  queries:
    description: Statements whose plans are shown, such as the manual's. They are planned and never carried out.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What its check is named by.
        type: str
        required: true
      sql:
        description: One statement that reads.
        type: str
        required: true
  thresholds:
    description:
      - From which value on a check is a warning or critical. What is left out keeps its default.
      - C(.inf) means that there is no such threshold.
    type: dict
    suboptions:
      unused_indexes:
        description: Number of indexes that nobody reads and that may go.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      duplicate_indexes:
        description: Number of indexes that another one makes superfluous.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      invalid_indexes:
        description: Number of invalid indexes that nothing is building.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      index_bloat:
        description: Bloat of the most bloated index, in percent of it.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 50
          critical:
            description: Critical from here on.
            type: float
      table_bloat:
        description: Bloat of the most bloated table, in percent of it.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 50
          critical:
            description: Critical from here on.
            type: float
      vacuum:
        description: Number of tables with more than three times the dead rows at which autovacuum begins.
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
      analyze:
        description: Number of tables whose statistics are missing or as far behind.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      xid_age:
        description: Age of a table's oldest transaction id; the server stops at about 2147000000.
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
        description: Age of a table's oldest multixact id.
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
      settings:
        description: Number of settings that do not go with the machine.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      pools:
        description: Connections that all pools may open, in percent of those that there are.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 80
          critical:
            description: Critical from here on.
            type: float
            default: 100
      statement_mean:
        description: Mean milliseconds of the slowest statement since the last run.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1000
          critical:
            description: Critical from here on.
            type: float
      missing_indexes:
        description: Number of indexes that recorded statements lack.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.run
"""

EXAMPLES = r"""
- name: Look at the indexes
  tradingflow.maintenance.database_tuning:
    run: "{{ maintenance_run }}"
    database: "{{ tradingflow_database }}"
    cycle_days: 92
    pools:
      - {name: app, size: 20, replicas: 3}
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
tuning:
  description: What the ledger keeps, the status and value of each check and how much advice of each verdict there is.
  returned: when the database answers
  type: dict
"""
