#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_point
short_description: Back up database and application files as one verified recovery point
version_added: "0.1.0"
description:
  - Dumps a PostgreSQL database with C(pg_dump) in its directory format, its roles, and the application's files, uploads
    all of it to S3 while it is being made, and writes the object that binds them last (contract 4).
  - Counts and digests of every table are taken in the dump's own snapshot.
  - Or has pgBackRest back the whole cluster up (O(engine=pgbackrest)), on the database's host, names a restore point in
    the WAL, and takes counts and digests of exactly what a restore to it gives.
    M(tradingflow.maintenance.pgbackrest_setup) sets it up.
  - Reads everything back afterwards and compares it. A backup that does not verify is a failed one.
  - Runs on a host that has PostgreSQL's client programs and sees the application's files. Shows its progress.
  - Deletes nothing but what runs that died left half uploaded.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - pg_dump, pg_dumpall and pg_restore of the server's major version or newer
  - boto3
  - psycopg2
  - zstandard, for O(files_engine=archive)
  - restic 0.14 or newer, for O(files_engine=restic)
  - pgBackRest 2.45 or newer, for O(engine=pgbackrest)
  - isal, for fast gzip where C(pg_dump) has no zstd
options:
  database_identity:
    description:
      - Name of the database, C(@), and the system identifier of its cluster, as a refused backup prints them.
      - Declares that the database is another than that of the environment's newest recovery point.
      - Compared with the database whenever it is set.
    type: str
  environment_name:
    description: Name of the environment, part of every key.
    type: str
    required: true
  engine:
    description: What makes the database's part, C(pg_dump) or pgBackRest.
    type: str
    default: logical
    choices: [logical, pgbackrest]
  pgbackrest:
    description: For O(engine=pgbackrest).
    type: dict
    suboptions:
      stanza:
        description: Name of the cluster in pgBackRest's repositories.
        type: str
        required: true
      config_file:
        description: pgBackRest's configuration, which has the store's keys.
        type: path
        default: /etc/pgbackrest/pgbackrest.conf
      program:
        description: Where pgBackRest is. Without it the PATH is searched.
        type: path
      run_as:
        description: The user that owns the server's files. Without it V(postgres) for root, else who runs the module.
        type: str
      repository:
        description: Number of the repository, which has to be in the bucket of O(storage).
        type: int
        default: 1
      type:
        description: Type of backup. V(auto) is V(incr), and V(full) when there is no full one of the last 7 days.
        type: str
        default: auto
        choices: [auto, full, diff, incr]
      wait_for_wal:
        description: Seconds to wait for the WAL up to the restore point to be in the repository.
        type: int
        default: 120
  application:
    description: Which application the data belong to, as the release process knows it.
    type: dict
    suboptions:
      name:
        description: Its name.
        type: str
      version:
        description: Its version.
        type: str
      image:
        description: Its image, with digest.
        type: str
  data_directory:
    description: The application's data directory. Without it only the database is backed up.
    type: path
  data_excludes:
    description: Shell patterns of paths below O(data_directory) to leave out.
    type: list
    elements: str
    default: []
  files_engine:
    description:
      - V(archive) packs all files into one archive each time.
      - V(restic) keeps them in a repository beside the recovery points, encrypted on this host, and uploads only what
        is new. Needs O(files_password), and restic 0.14 or newer in the PATH.
      - V(restic) is refused together with O(lock_mode), as it cannot lock what it stores.
    type: str
    default: archive
    choices: [archive, restic]
  files_password:
    description: Password of the repository. Without it, nothing in the repository can ever be read again.
    type: str
  files_repository:
    description:
      - Key prefix of the repository in the bucket, C(<prefix>/files/<environment_name>) without it.
      - It is made when there is none.
      - Each environment needs one of its own.
    type: str
  pg_bin_dir:
    description: Where the client programs are. Without it the PATH is searched.
    type: path
  scratch_directory:
    description: Where a private folder is made for what waits to be uploaded. Nothing stays there.
    type: path
    default: /var/tmp
  scratch_limit:
    description: Bytes that may wait there before C(pg_dump) is paused. At most half of what is free is used.
    type: int
    default: 2147483648
  jobs:
    description: Tables dumped at a time.
    type: int
    default: 2
  compression:
    description: Compression of the dump. V(auto) takes zstd, gzip by ISA-L, lz4 or gzip, the first that is there.
    type: str
    default: auto
    choices: [auto, zstd, lz4, gzip, none]
  compression_level:
    description: Its level, 1 without it. ISA-L knows 1 to 3; from 4 on, C(pg_dump) does gzip by itself.
    type: int
  bandwidth_limit:
    description: Most bytes per second to the store; 0 for no limit.
    type: int
    default: 0
  nice:
    description: Niceness of C(pg_dump), 0 to 19. Compression and upload of files run beside it at normal priority.
    type: int
    default: 0
  verify:
    description:
      - V(full) reads every object back and compares its SHA-256 and contents. With pgBackRest, its C(verify) reads the
        whole repository, older backups included.
      - V(checksum) compares sizes and checksums by HEAD, and reads the dump's table of contents only. With pgBackRest,
        sizes and ETags as the store lists them.
      - V(none) leaves the backup unverified, which the report calls unknown.
    type: str
    default: full
    choices: [full, checksum, none]
  digests:
    description: V(full) computes a digest of every table's rows besides their number.
    type: str
    default: full
    choices: [full, none]
  part_size:
    description: Bytes per part of an upload, at least 5 MiB. Twice O(jobs) parts are held in memory.
    type: int
    default: 16777216
  lock_mode:
    description:
      - Whether the store shall refuse to delete what is uploaded, and whether administrators may undo that.
      - A bucket that has no object lock is refused.
    type: str
    default: none
    choices: [none, governance, compliance]
  lock_days:
    description: For how many days from the backup's beginning.
    type: int
    default: 30
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Says what would be done, with sizes, and changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
notes:
  - With O(run), a failed backup does not fail the task but is critical in the report, which ends the run.
    Without it, the task fails.
  - Every call makes another recovery point.
"""

EXAMPLES = r"""
- name: Back up
  tradingflow.maintenance.recovery_point:
    environment_name: production
    database:
      host: db.example.com
      name: tradingflow
      user: tradingflow_maintenance
      password: "{{ vault_maintenance_password }}"
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    application:
      name: tradingflow
      version: 1.4.2
    data_directory: /opt/tradingflow/data
"""

RETURN = r"""
recovery_point:
  description: The recovery point without its long lists; these are in the object at RV(recovery_point.key).
  returned: when one was written
  type: dict
  contains:
    id:
      description: Its id, in order of time.
      type: str
      sample: 20261123T204030Z-3fa9c1
    key:
      description: Key of recovery-point.json.
      type: str
    sha256:
      description: SHA-256 of recovery-point.json.
      type: str
    environment:
      description: The environment.
      type: str
    database:
      description: Name of the database, C(@), and the system identifier of its cluster.
      type: str
      sample: tradingflow@7571234567890123456
    another_database:
      description: How it differs from that of the recovery point before, as O(database_identity) declares; else null.
      type: str
    created_at:
      description: When it was begun, RFC 3339 UTC.
      type: str
    finished_at:
      description: When all was uploaded, RFC 3339 UTC.
      type: str
    size:
      description: Bytes of all objects.
      type: int
    objects:
      description: Number of objects.
      type: int
    tables:
      description: Number of tables.
      type: int
    rows:
      description: Number of rows.
      type: int
    files:
      description: Number of application files.
      type: int
    engine:
      description: What made the database's part.
      type: str
    files_engine:
      description: How they are stored, archive or restic.
      type: str
    compression:
      description: The dump's compression, null with pgBackRest.
      type: str
    label:
      description: pgBackRest's label of the backup, null for a dump.
      type: str
    type:
      description: Type of pgBackRest's backup, null for a dump.
      type: str
    server_version:
      description: The server's version.
      type: str
    schema_head:
      description: Revisions of alembic, null when there is none.
      type: list
      elements: str
    application_version:
      description: As handed in.
      type: str
    verified:
      description: Whether it verified, null when that was not asked for.
      type: bool
phases:
  description: Seconds by phase.
  returned: when one was written
  type: dict
checks:
  description: What the report shows, as contract 1.
  returned: always
  type: list
  elements: dict
actions:
  description: What was done or, in check mode, would be.
  returned: always
  type: list
  elements: dict
plan:
  description: What would be done, with sizes in bytes.
  returned: in check mode
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engines
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup.options import SPEC

from ..module_utils._work import detached
from ..module_utils._work.job import BACKUP


def main() -> None:
    module = AnsibleModule({**SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    engine = engines.of(module.params)
    result = detached.run(
        module.params,
        module.check_mode,
        BACKUP,
        engine.plan,
        engine.create,
        lambda result: remove_values(result, module.no_log_values),
    )
    module.exit_json(changed="recovery_point" in result, **result)


if __name__ == "__main__":
    main()
