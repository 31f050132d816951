#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_checks
short_description: Check the recovery points of an environment in the store
version_added: "0.1.0"
description:
  - Looks up the newest recovery point by its own time, not by the store's, and judges its age.
  - Compares every object of it with the recorded size and checksum by HEAD, those of pgBackRest by size and ETag as the
    store lists them, with all that the backup needs of others; nothing is downloaded.
  - Where its application files are in a restic repository, compares one listing of that with what the newest recovery
    points listed. Packs, index, snapshots and keys must have the size and ETag they had. Needs neither restic nor the
    password.
  - Compares one listing of the store with all kept recovery points, and with the backups and deletions in the ledger.
    What is missing, cut, changed or unexpected is named.
  - Reads kept recovery points back in turns, with SHA-256, within O(kept_read). What was read when is in the details of
    the check, where the next run finds it. In check mode nothing is read.
  - Compares its size and duration with the median of up to ten recovery points before it, of the same compression.
    Of pgBackRest the size of the restored cluster counts.
  - With the engine C(pgbackrest), watches over the WAL, by listing the repository, without pgBackRest's program. It
    compares what arrived with what the server says it archived and with what it writes now, looks for gaps, over
    changes of the timeline, and whether every physical recovery point has its backup, its chain and its WAL.
  - Compares the clocks of store and database with this machine's, and looks when the store's certificate and keys end.
  - Looks up when a restore was last proven, as the newest record of a drill in the ledger that verifies and went well.
  - An unreachable store makes this unknown; no recovery point at all is critical.
  - Runs on the controller and changes nothing. The task never fails because of what it finds.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - boto3
  - cryptography
options:
  environment_name:
    description: Name of the environment.
    type: str
    required: true
  engines:
    description:
      - Engines whose newest recovery points are checked, each by itself. None of one is critical.
      - Checks of others than V(logical) have the engine's name at their end.
      - With V(pgbackrest) the WAL is watched over, too.
    type: list
    elements: str
    choices: [logical, pgbackrest]
    default: [logical]
  evidence:
    description:
      - Keys of the ledger in which drills are recorded. Only public keys are needed.
      - Without it, whether a restore was proven is unknown.
  pgbackrest:
    description: The repository to watch over, in the bucket of O(storage). Required with the engine C(pgbackrest).
    type: dict
    suboptions:
      stanza:
        description: Name of the cluster in the repository.
        type: str
        required: true
      repository_path:
        description: Key prefix of the repository in the bucket.
        type: str
        required: true
  database:
    description: The primary, asked what it archived. Required with the engine C(pgbackrest).
    type: dict
    suboptions:
      host:
        description: Address, or the directory of a socket.
        type: str
        default: localhost
      port:
        description: Port.
        type: int
        default: 5432
      name:
        description: Name of the database.
        type: str
        required: true
      user:
        description: A role with C(pg_monitor).
        type: str
        required: true
      password:
        description: Its password.
        type: str
      sslmode:
        description: As in libpq.
        type: str
        default: verify-full
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
      sslrootcert:
        description: File of the CA that signed the server's certificate.
        type: path
      connect_timeout:
        description: Seconds until a connection must stand.
        type: int
        default: 10
      statement_timeout:
        description: Seconds that a statement may take.
        type: int
        default: 60
  kept_read:
    description: How much of kept recovery points is read back in a run.
    type: dict
    suboptions:
      bytes:
        description:
          - After so many bytes no further object is begun. V(0) reads none.
          - What is damaged is read again in each run, within as many bytes more.
        type: int
        default: 10000000000
      seconds:
        description: Likewise, after so many seconds.
        type: int
        default: 600
      days:
        description: After so many days a recovery point is due again.
        type: int
        default: 30
  key_expiry:
    description: Keys that end on a date nobody can look up. Without any, there is no check of it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What people call it.
        type: str
        required: true
      expires_at:
        description: When it ends, such as C(2027-03-31) or C(2027-03-31T12:00:00Z).
        type: str
        required: true
  thresholds:
    description:
      - From which value on a check is a warning or critical. What is left out keeps its default.
      - C(.inf) means that there is no such threshold.
    type: dict
    suboptions:
      newest_age:
        description: Age of the newest recovery point's data, in s.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 93600
          critical:
            description: Critical from here on.
            type: float
            default: 180000
      size_low:
        description: Percent of the median of the recovery points before it that the newest is large; bad downwards.
        type: dict
        suboptions:
          warning:
            description: Warning from here downwards.
            type: float
            default: 50
          critical:
            description: Critical from here downwards.
            type: float
            default: 10
      size_high:
        description: The same, bad upwards.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 200
          critical:
            description: Critical from here on.
            type: float
      duration_high:
        description: Percent of the median duration of those before it that the newest took, and at least a minute more.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 200
          critical:
            description: Critical from here on.
            type: float
      proven_restore:
        description: Days since the last drill that went well. Without thresholds only reported.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 8
          critical:
            description: Critical from here on.
            type: float
            default: 35
      kept_read:
        description: Days since the kept recovery point that had to wait longest was read back.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 90
          critical:
            description: Critical from here on.
            type: float
      wal_age:
        description: Age of the newest change that is in the repository, in s. Critical is what may be lost (RPO).
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1800
          critical:
            description: Critical from here on.
            type: float
            default: 3600
      clock:
        description: Seconds that the store's or the database's clock is off this machine's.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 5
          critical:
            description: Critical from here on.
            type: float
            default: 60
      certificate:
        description: Days until the store's certificate or its CA ends; bad downwards.
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
      key:
        description: Days until a key of O(key_expiry) ends; bad downwards.
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
extends_documentation_fragment:
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Reads only, so it does the same, but for what O(kept_read) has read back.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Check the backups
  tradingflow.maintenance.backup_checks:
    environment_name: production
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    evidence:
      trusted_key_files: [keys/evidence.pub]
    thresholds:
      newest_age:
        warning: 7200

- name: Check them, and that the WAL arrives
  tradingflow.maintenance.backup_checks:
    environment_name: production
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    engines: [logical, pgbackrest]
    pgbackrest:
      stanza: production
      repository_path: pgbackrest/production
    database:
      host: db.example.com
      name: tradingflow
      user: maintenance
      password: "{{ vault_maintenance_password }}"
    key_expiry:
      - {name: S3 key of the database's host, expires_at: 2027-03-31}
"""

RETURN = r"""
checks:
  description:
    - backups.newest_age, backups.newest_intact, backups.kept_intact, backups.kept_read, backups.size_anomaly,
      backups.files_anomaly,
      backups.duration_anomaly,
      backups.proven_restore, backups.clock:store, backups.store_certificate (of a store with TLS that is not AWS's)
      and backups.keys (with O(key_expiry)), as contract 1.
    - With the engine C(pgbackrest) also backups.wal_archived, backups.wal_gaps, backups.wal_of_backups,
      backups.clock:database.
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all.
  returned: always
  type: str
"""
