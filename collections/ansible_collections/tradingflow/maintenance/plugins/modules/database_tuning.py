#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: database_tuning
short_description: Judge indexes, tables, statements and settings of PostgreSQL, and rebuild by plan
version_added: "0.1.0"
description:
  - Judges indexes that nobody reads, duplicates and invalid ones, bloat, vacuum and statistics, wraparound, sequences,
    statements, settings and pools, each with its evidence and one of three verdicts, C(safe), C(review) or C(unknown)
    (docs/tuning.md).
  - Carries out a plan of rebuilding, vacuum, statistics and drops that was approved by its digest, within a budget of
    window, disk, WAL and replicas, and brings dropped indexes back.
  - Analyses on the controller, in one transaction that cannot write, with a timeout on every statement and lock.
  - What has to stay, such as primary keys, unique indexes and those that support foreign keys, is never to be dropped.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  action:
    description:
      - V(analyse) only looks, and writes a plan into O(plans). V(apply) carries out the plan of
        O(expected_digest). V(undo) brings back the indexes that were dropped.
    type: str
    choices: [analyse, apply, undo]
    default: analyse
  expected_digest:
    description:
      - The digest of the plan that was approved, for O(action=apply). For O(action=undo) of the plan that dropped what
        is to come back; without it all that was dropped does.
    type: str
    default: ""
  plans:
    description: A folder for plans on the controller, each under its digest. Without it none is kept.
    type: path
  journal:
    description:
      - A file on the controller that says what was begun and ended. By it leftovers of a killed rebuild are
        told, and dropped indexes brought back.
    type: path
  drop_indexes:
    description:
      - Indexes, as schema.name, that a person wants to be dropped. They get into the plan when the advice of
        this run says that they may go; their definitions are kept.
    type: list
    elements: str
    default: []
  extended_statistics:
    description: Extended statistics (CREATE STATISTICS) that a person wants.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Their name.
        type: str
        required: true
      schema:
        description: Schema of the table, and of the statistics.
        type: str
        default: public
      table:
        description: The table's name.
        type: str
        required: true
      columns:
        description: Its columns.
        type: list
        elements: str
        required: true
  window_ends:
    description:
      - When the window closes, as the role maintenance_window says. Nothing begins within its last minute, and
        no statement lasts longer.
    type: str
    default: ""
  free_bytes:
    description: Bytes that must stay free on the database's disk.
    type: int
    default: 10000000000
  disk_bytes:
    description:
      - Bytes that are free on the database's disk. V(0) when only the disk itself can say, as it can when O(database)
        is reached by a Unix socket; where nobody knows nothing is rebuilt.
    type: int
    default: 0
  wal_disk_bytes:
    description:
      - Bytes that are free on the disk of pg_wal, likewise. V(-1) when that is the disk of O(disk_bytes).
      - Where nobody knows nothing is rebuilt, and no table vacuumed.
    type: int
    default: 0
  tablespace_bytes:
    description: The name of each tablespace of its own, and the bytes that are free there.
    type: dict
    default: {}
  wal_bytes:
    description: Bytes of WAL that all of a plan may cause.
    type: int
    default: 10000000000
  lag_bytes:
    description: Bytes that a replica may be behind before the next operation begins.
    type: int
    default: 100000000
  lag_wait:
    description: Seconds for which a replica is waited for.
    type: int
    default: 300
  lock_timeout:
    description: Seconds for which a lock is waited for, from 0.1 to 60.
    type: float
    default: 5.0
  apply_database:
    description:
      - The same database as a role that may change the tables, for O(action=apply) and O(action=undo). By
        default O(database), which has to see replicas and settings then.
    type: dict
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
    description: Statements whose plans are shown, such as the manual's. By default they are not carried out.
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
      analyze:
        description:
          - Whether it is carried out (EXPLAIN ANALYZE), in a transaction that cannot write and within O(timeout). Only
            where pglast and the catalogue prove that it calls nothing volatile and nothing of the platform's own, and
            has no writing CTE; else its check is unknown.
        type: bool
        default: false
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

- name: Carry out a plan that was approved
  tradingflow.maintenance.database_tuning:
    run: "{{ maintenance_run }}"
    action: apply
    database: "{{ tradingflow_database }}"
    expected_digest: 3f0c9d6f3c1f5d0d3e9f7a3d4c5b6a79808f9eadbccddbeafb0c1d2e3f405162
    plans: /var/lib/tradingflow/plans
    journal: /var/lib/tradingflow/tuning.jsonl
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
  returned: when the database was analysed
  type: dict
plan:
  description: What apply would do, with C(digest), C(operations), C(refused) and the C(database) it is of.
  returned: when the database was analysed
  type: dict
applied:
  description: What was done, with C(results) of each operation, C(leftovers_removed) and C(changed).
  returned: with O(action=apply) and O(action=undo)
  type: dict
"""
