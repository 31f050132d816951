#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_drill
short_description: Restore a recovery point into a scratch instance and prove it
version_added: "0.1.0"
description:
  - Fetches all objects of a recovery point and compares each with what is recorded, restores them into a PostgreSQL
    server of the drill's own on loopback, and unpacks the application's files.
  - A backup by pgBackRest is restored to its restore point, where rows and digests were recorded; after they were
    compared, all WAL that the repository has is replayed, and the server promoted.
  - Compares row counts, digests, schema head, extensions and large objects with the recovery point, checks all B-tree
    indexes with amcheck, and runs business invariants over the copy.
  - Starts the application against the copy, when told how.
  - Measures the recovery time by the clock and the loss of data by the heartbeat in the copy, against the objectives.
  - Runs on a host that has PostgreSQL's server programs. Shows its progress. Leaves nothing behind, killed or not.
  - Of the source database only the size is read.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - postgres, initdb and pg_restore of the source's major version or newer; for backups by pgBackRest postgres
    and pg_controldata of exactly that version, and pgBackRest 2.45 or newer
  - boto3
  - psycopg2
  - zstandard
options:
  environment_name:
    description: Name of the environment, part of every key.
    type: str
    required: true
  database:
    description: The source database, asked for its size today. Without it the forecast is for the size at the backup.
    required: false
  files_password:
    description: Password of the restic repository, where recovery points have their application files in one.
    type: str
  recovery_point:
    description: Which one. V(newest), V(random) for any but the newest, or an id.
    type: str
    default: newest
  seed:
    description:
      - Seed of the choice of V(random), which is on record with the drill. The same seed chooses the same from the same
        recovery points. By default one is drawn.
    type: str
  engine:
    description: Which engine's, for V(newest) and V(random) of O(recovery_point). V(any) is whichever made it.
    type: str
    default: any
    choices: [any, logical, pgbackrest]
  pgbackrest:
    description: What a recovery point made by pgBackRest needs. A configuration of the host's own is not looked at.
    type: dict
    suboptions:
      program:
        description: Where pgBackRest is. Without it the PATH.
        type: path
      process_max:
        description: Processes that fetch and write files.
        type: int
        default: 2
      repositories:
        description:
          - The repositories of the backups, as in M(tradingflow.maintenance.pgbackrest_setup). The one is taken whose
            bucket and path the recovery point names.
          - Without any, an unencrypted one is reached by O(storage).
        type: list
        elements: dict
        default: []
        suboptions:
          bucket:
            description: The bucket.
            type: str
            required: true
          path:
            description: Put before every key.
            type: str
            required: true
          endpoint:
            description: URL of a store other than AWS's; pgBackRest speaks S3 over TLS only.
            type: str
          region:
            description: The region.
            type: str
            default: us-east-1
          access_key:
            description: Access key. Without it the host's own role is used.
            type: str
          secret_key:
            description: Secret key.
            type: str
          session_token:
            description: Session token of temporary credentials.
            type: str
          ca_file:
            description: File of the CA that signed the store's certificate.
            type: path
          addressing_style:
            description: How the bucket is named in the URL. V(auto) is the path for stores other than AWS's.
            type: str
            default: auto
            choices: [auto, path, virtual]
          cipher_pass:
            description: What the repository is encrypted with.
            type: str
          encryption:
            description: Encryption of the repository.
            type: str
            default: aes-256-cbc
            choices: [aes-256-cbc, none]
          bundle:
            description: Not used for a restore; it may be here as it is in the backup's own list.
            type: bool
            default: true
          block:
            description: Not used for a restore, likewise.
            type: bool
  superuser:
    description:
      - A role of the source by which the restored cluster is asked for its superusers, when it has neither
        C(postgres) nor one named like O(run_as), nor the users of O(database) and O(application).
    type: str
  pg_bin_dir:
    description:
      - Where the server's programs are. Without it the PATH, then where Debian and Red Hat put them.
      - Where these are of a version that cannot restore the recovery point, as after a major upgrade, those of its own
        that the distribution installed are taken.
    type: path
  scratch_directory:
    description: Where a private folder is made for objects, server and files. Nothing stays there.
    type: path
    default: /var/tmp
  run_as:
    description: The user the server runs as when the module runs as root. Without it C(postgres), else C(nobody).
    type: str
  settings:
    description:
      - Settings of the scratch server, e.g. C(shared_preload_libraries) for an extension that needs it. None are taken
        from the source.
    type: dict
    default: {}
  jobs:
    description: Tables restored, counted and checked at a time.
    type: int
    default: 2
  invariants:
    description: What must hold in the restored copy.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name in snake case, part of the check's id.
        type: str
        required: true
      title:
        description: Its title for people.
        type: str
        required: true
      sql:
        description:
          - A query that gives the number of violations; 0 holds, and what fails is unknown. Runs read-only.
          - C(current_setting('drill.snapshot_at')::timestamptz) is when the recovery point's snapshot was taken.
        type: str
        required: true
  invariant_timeout:
    description: Seconds after which an invariant's query is ended.
    type: int
    default: 600
  index_check:
    description:
      - What amcheck looks at of each B-tree index, its V(structure), or in V(full) whether it holds all rows, too.
      - That reads the table once for each index, and is most of the time that a drill of a large cluster takes.
    type: str
    choices: [full, structure]
    default: full
  application:
    description:
      - How the application is started against the copy. Without it none is started.
      - It gets nothing of the drill's own environment. See that it cannot trade with what it is given.
      - In O(application.command), O(application.environment) and O(application.url) these are replaced - C({port}), a
        free port, C({data_directory}), its files, C({scratch_directory}), C({database_host}), C({database_port}),
        C({database_name}), C({database_user}), and in O(application.environment) only C({database_password}),
        C({database_url}), and C({database_address}), which is the URL without C(postgresql://).
    type: dict
    suboptions:
      command:
        description: Program and arguments.
        type: list
        elements: str
        required: true
      environment:
        description: Its environment, besides PATH and LANG.
        type: dict
        default: {}
      user:
        description: The database role it connects as. Without it the scratch instance's superuser.
        type: str
      url:
        description: Where it answers.
        type: str
        default: http://127.0.0.1:{port}
      health_path:
        description: Path that says whether it is healthy; empty for none.
        type: str
        default: /health
      ready_path:
        description: Path that says whether it can work; empty for none.
        type: str
        default: /ready
      version_path:
        description: Path that says its version; empty for none.
        type: str
        default: /version
      version:
        description: The version it must be of. Without it the recovery point's.
        type: str
      timeout:
        description: Seconds within which it must be healthy.
        type: int
        default: 120
      words:
        description: Words of its own by which it tells its state, see M(tradingflow.maintenance.application_checks).
        type: dict
        suboptions:
          healthy:
            description: All is well.
            type: list
            elements: str
            default: []
          degraded:
            description: Not well.
            type: list
            elements: str
            default: []
          unhealthy:
            description: Not well.
            type: list
            elements: str
            default: []
  rto:
    description: Recovery time objective, in s.
    type: int
    default: 14400
  rpo:
    description: Recovery point objective, in s of data lost.
    type: int
    default: 3600
  migration:
    description:
      - Rehearses a migration on the restored copy, once it is proven - carries out what is pending there under a light
        load, undoes it, and carries it out again. The copy, which is thrown away, is all that is written to.
      - The options are those of M(tradingflow.maintenance.schema_migration).
    type: dict
    suboptions:
      project:
        description: The alembic project, on this host.
        type: dict
        required: true
        suboptions:
          config:
            description: Its configuration, such as alembic.ini.
            type: path
            required: true
          section:
            description: The section of it.
            type: str
            default: alembic
          directory:
            description: Where alembic is run. Without it, the folder of the configuration.
            type: path
          python:
            description: The project's Python. Without it C(python3) of the PATH.
            type: path
          environment:
            description: Its environment. The address in it is replaced by the copy's.
            type: dict
            default: {}
          settings:
            description: Settings in place of its configuration's. The address in them is replaced, too.
            type: dict
            default: {}
      user:
        description: The role that migrates in earnest. The copy has it, with a password of its own.
        type: str
        required: true
      target:
        description: The revision to go up to.
        type: str
        default: head
      lock_timeout:
        description: Seconds that a statement may wait for a lock.
        type: float
        default: 1.0
      blocker_wait:
        description: Seconds that those in the way are waited for before the next attempt.
        type: float
        default: 120.0
      statement_timeout:
        description: Seconds that a statement in a transaction may take.
        type: float
        default: 300.0
      concurrent_deadline:
        description: Seconds that a statement outside a transaction may take.
        type: float
        default: 14400.0
      attempts:
        description: How often a revision is tried that did not get its locks.
        type: int
        default: 10
      retry_pause:
        description: Seconds before the second attempt.
        type: float
        default: 2.0
      load_sessions:
        description: Sessions that read and write meanwhile, half of them each; V(0) for none.
        type: int
        default: 4
      load_statements:
        description: SQL of the platform's own that they carry out besides, each in a transaction that is rolled back.
        type: list
        elements: str
        default: []
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Says which recovery point would be restored, with sizes, and changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
notes:
  - With O(run), a failed drill does not fail the task but is critical in the report, which ends the run.
    Without it, the task fails.
"""

EXAMPLES = r"""
- name: Drill a restore of the newest recovery point
  tradingflow.maintenance.restore_drill:
    environment_name: production
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    pg_bin_dir: /usr/lib/postgresql/17/bin
    scratch_directory: /srv/drill
    invariants:
      - name: no_negative_cash
        title: No account owes cash
        sql: SELECT count(*) FROM maintenance.cash WHERE balance < 0
    application:
      command: [/opt/tradingflow/bin/tradingflow, --read-only]
      user: tradingflow
      environment:
        DATABASE_URL: "{database_url}"
        PORT: "{port}"
"""

RETURN = r"""
drill:
  description: What the ledger keeps.
  returned: when a recovery point was chosen
  type: dict
  contains:
    recovery_point:
      description: Its id.
      type: str
      sample: 20261123T204030Z-3fa9c1
    engine:
      description: What it was made with.
      type: str
    worst_status:
      description: The worst status of the proof; V(ok) means that it was restored and holds what it says.
      type: str
    objectives:
      description: The worst status of recovery time, its forecast, and loss of data.
      type: str
    rto_seconds:
      description: Seconds from the start to a healthy application, null when it did not get there.
      type: float
    rpo_seconds:
      description: Seconds of data that would be lost if the disaster were now, null when not measured.
      type: float
    phases:
      description: Seconds by phase.
      type: dict
rehearsal:
  description: What the ledger keeps of the rehearsal - the budget of each revision.
  returned: with O(migration), when something was rehearsed
  type: dict
recovery_point:
  description: The recovery point in short.
  returned: when a recovery point was chosen
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

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import rehearsal
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.options import REHEARSAL_SPEC

from ..module_utils._work import detached
from ..module_utils._work.job import DRILL
from ..module_utils._work.progress import Progress


def work(options: Dict[str, Any], progress: Progress) -> Dict[str, Any]:
    """The drill, and with the option "migration" a rehearsal on what it has proven."""
    wanted = options["migration"]
    if not wanted:
        return engine.run(options, progress)
    options = {**options, "settings": {**rehearsal.SETTINGS, **options["settings"]}}
    return engine.run(options, progress, lambda copy, progress: rehearsal.rehearse(wanted, copy, progress))


def main() -> None:
    spec = {**SPEC, "migration": {"type": "dict", "options": REHEARSAL_SPEC}, "run": {"type": "dict"}}
    module = AnsibleModule(spec, supports_check_mode=True)
    result = detached.run(
        module.params,
        module.check_mode,
        DRILL,
        engine.plan,
        work,
        lambda result: remove_values(result, module.no_log_values),
        lambda options: engine.folder_mode(engine.check_place(options)),
    )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
