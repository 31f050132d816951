#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_point_restore
short_description: Restore a recovery point in the place of what is there
version_added: "0.1.0"
description:
  - Brings a recovery point back for real - the whole of it, single tables and schemas, or a whole cluster to a point in
    time.
  - Everything is made beside what is there, compared with the recovery point, and put in place by renaming. What was
    there is kept aside until it is removed by name.
  - Refuses what would do harm, each with what to do - see the role C(restore).
  - When it is killed, the next run finds what is there, and goes on or starts over. Shows its progress.
  - Runs on a host that has PostgreSQL's client programs, and sees the application's data directory; with
    O(mode=point_in_time), on the database's host.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - psql, pg_restore and pg_dump of the server's major version or newer
  - boto3
  - psycopg2
  - zstandard
  - with O(mode=point_in_time) pgbackrest, and postgres of the cluster's major version
options:
  environment_name:
    description: Name of the environment that is restored into.
    type: str
    required: true
  database:
    description: The server, as a superuser. Its name is that of the database restored into.
  reader:
    description:
      - As whom the newest heartbeat of the database that is there is read, instead of the user of O(database). A view
        runs functions of whoever wrote it, with the rights of whoever reads it.
    type: dict
    suboptions:
      user:
        description: Its name.
        type: str
        required: true
      password:
        description: Its password.
        type: str
  search_path:
    description:
      - With the logical format, schemas in which functions of the dump find what they name while it is restored, if
        they have no search_path of their own. It is taken from them again before the database is put in place.
      - pg_restore works without a search_path. A CHECK constraint whose function calls another without its schema
        keeps its table's rows out, unless this names the schema.
    type: list
    elements: str
    default: []
  mode:
    description:
      - V(whole) for database and application files of a recovery point in the logical format.
      - V(tables) for single tables or schemas of it.
      - V(point_in_time) for a whole cluster by pgBackRest, on the cluster's own host.
      - V(remove_old) to remove what earlier restores put aside.
    type: str
    choices: [whole, tables, point_in_time, remove_old]
    default: whole
  abandon:
    description:
      - Gives up a restore that did not end instead of restoring anything. What was there before is put back, what was
        restored is kept aside, and with O(mode=point_in_time) the server is started.
    type: bool
    default: false
  recovery_point:
    description: Which one. V(newest), an id, or a day such as V(20261123) for the newest of that day (UTC).
    type: str
    default: newest
  source_environment:
    description: Whose recovery point it is. Without it, that of O(environment_name).
    type: str
  target_database:
    description: Name of the database restored into, when it is not O(database.name).
    type: str
  parts:
    description: Which halves of the recovery point, with O(mode=whole). Empty for both.
    type: list
    elements: str
    choices: [database, files]
    default: []
  data_directory:
    description: The application's data directory, which is replaced as a whole.
    type: path
  files_password:
    description: Password of the restic repository, where recovery points have their application files in one.
    type: str
  tables:
    description: With O(mode=tables), names as C(schema.table), without quotes. Partitions come with their table.
    type: list
    elements: str
    default: []
  schemas:
    description: With O(mode=tables), schemas of which all tables are meant.
    type: list
    elements: str
    default: []
  replace:
    description: With O(mode=tables), replaces the rows that are there. Without it they only come into a schema beside.
    type: bool
    default: false
  target_type:
    description:
      - With O(mode=point_in_time), what O(target) is. V(time) stops before the first transaction that was committed
        after it. V(lsn) is a place in the write-ahead log, V(name) a named restore point. V(latest) is all there is.
    type: str
    choices: [time, latest, lsn, name]
    default: time
  target:
    description: With O(mode=point_in_time), where to stop. A time with its zone, such as C(2026-11-24T18:30:00Z).
    type: str
  target_timeline:
    description:
      - With O(mode=point_in_time), the timeline that the log is followed to. It is chosen once, before anything is
        restored, and stays for the proof and for the start.
      - V(auto) for the one that has O(target); when several have it, the one the database is on. V(latest) for the
        newest of the archive, else a number.
    type: str
    default: auto
  cluster:
    description: With O(mode=point_in_time), the cluster on this host.
    type: dict
    suboptions:
      data_directory:
        description: Its data directory, which is replaced as a whole.
        type: path
        required: true
      config_file:
        description: Its C(postgresql.conf), when that does not lie in the data directory, as with Debian.
        type: path
      stop_command:
        description: The command that stops the server, as a list of arguments. Without it pg_ctl.
        type: list
        elements: str
        default: []
      start_command:
        description: The command that starts the server, as a list of arguments. Without it pg_ctl.
        type: list
        elements: str
        default: []
      command_directory:
        description: The current directory of the commands.
        type: path
      start_timeout:
        description: Seconds that the started server has to replay and to take changes.
        type: int
        default: 3600
      elsewhere:
        description: That the directory is another than the stanza's, on purpose.
        type: bool
        default: false
      delta:
        description:
          - Whether what is left of the old cluster is copied first; pgBackRest then fetches only what differs.
          - Faster where the repository is far and the disk near, above all where copies share blocks (XFS, Btrfs).
          - The old cluster stays as it is.
        type: bool
        default: false
      tablespaces:
        description:
          - By a tablespace's name, the directory in which a new one is made for it. The server's user may write there.
          - Others come beside the data directory. The old ones stay where they are.
        type: dict
        default: {}
      libraries:
        description:
          - With C(elsewhere), libraries of C(shared_preload_libraries) that it loads though they may act by themselves.
          - Those that do nothing by themselves, such as pg_stat_statements, are loaded anyway.
        type: list
        elements: str
        default: []
  pgbackrest:
    description: With O(mode=point_in_time), pgBackRest on this host.
    type: dict
    suboptions:
      stanza:
        description: Name of the stanza.
        type: str
        required: true
      config_file:
        description: Its configuration.
        type: path
        default: /etc/pgbackrest/pgbackrest.conf
      program:
        description: Path of the program. Without it the PATH.
        type: path
      run_as:
        description: User that owns the cluster, when the module runs as root. Without it C(postgres).
        type: str
      repository:
        description: Number of the repository.
        type: int
        default: 1
  confirm:
    description: The environment's name, a slash, and the database's. Needed when what is there is not empty.
    type: str
  reason:
    description: Why refusals are overridden. Goes on the record.
    type: str
  overrides:
    description:
      - Refusals that are overridden, with O(reason).
      - V(other_environment), the recovery point is of another environment. V(other_cluster), the server is another than
        the recovery point's. V(other_database), the recovery point is of another database than O(database) names.
        V(empty), the recovery point holds not a single row. V(parts_apart), only one of database and files is restored.
        V(incomplete), what cannot be made after the rows is left out (indexes, keys, triggers, materialised views), and
        C(restore.incomplete) is critical. V(siblings), only some of the partitions of a table are replaced.
        V(source_functions), functions that roles without a superuser's rights wrote run with the rights of
        O(database), as by pg_restore alone.
    type: list
    elements: str
    choices:
      - other_environment
      - other_cluster
      - other_database
      - empty
      - parts_apart
      - incomplete
      - siblings
      - source_functions
    default: []
  system_identifier:
    description: The server's system identifier, when it is another than the recovery point's on purpose.
    type: str
  application:
    description: The application, which must not run.
    type: dict
    suboptions:
      urls:
        description: Where it would answer.
        type: list
        elements: str
        default: []
      ca_file:
        description: CA certificates for HTTPS.
        type: path
      health_path:
        description: Path that is asked for.
        type: str
        default: /health
      stopped_by_us:
        description: That it will be stopped before the restore. For check mode.
        type: bool
        default: false
  remove_old:
    description: With O(mode=remove_old), names of databases, schemas and directories as the restore gave them.
    type: list
    elements: str
    default: []
  pg_bin_dir:
    description:
      - Where PostgreSQL's programs are. Without it the PATH.
      - With O(mode=point_in_time), where these are of another version than the recovery point, as after an upgrade,
        those of its own that the distribution installed are taken.
    type: path
  scratch_directory:
    description: Where a private folder is made for objects. The state of a restore that did not end stays there.
    type: path
    default: /var/tmp
  jobs:
    description: Tables restored and counted at a time.
    type: int
    default: 2
  rto:
    description: Recovery time objective, in s, for the report.
    type: int
    default: 14400
  rpo:
    description: Recovery point objective, in s of data lost, for the report.
    type: int
    default: 3600
  evidence:
    description: The ledger in which the newest drill is looked up, for how long it will take. Stays on the controller.
    type: dict
    suboptions:
      signing_key:
        description: The Ed25519 private key itself, PEM; its own records are trusted when no other key is named.
        type: str
      signing_key_file:
        description: File of the Ed25519 private key, PEM, mode 0600; likewise.
        type: path
      trusted_key_files:
        description: Files of the public keys that may have signed the ledger.
        type: list
        elements: path
        default: []
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Says what would be restored, with sizes, time, loss of data and all refusals, and changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
notes:
  - With O(run), a restore that failed does not fail the task but is critical in the report, which ends the run.
    Without it, the task fails.
"""

EXAMPLES = r"""
- name: Restore the newest recovery point
  tradingflow.maintenance.recovery_point_restore:
    environment_name: production
    database: {name: tradingflow, user: postgres, password: "{{ vault_superuser_password }}"}
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    data_directory: /srv/tradingflow/data
    confirm: production/tradingflow

- name: Bring the cluster back to a second
  tradingflow.maintenance.recovery_point_restore:
    environment_name: production
    database: {host: localhost, name: tradingflow, user: postgres, password: "{{ vault_superuser_password }}"}
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    mode: point_in_time
    target: "2026-11-24T18:30:00Z"
    cluster:
      data_directory: /var/lib/postgresql/17/main
      config_file: /etc/postgresql/17/main/postgresql.conf
      stop_command: [systemctl, stop, postgresql@17-main]
      start_command: [systemctl, start, postgresql@17-main]
    pgbackrest:
      stanza: main
    confirm: production/tradingflow

- name: Look at yesterday's orders beside today's
  tradingflow.maintenance.recovery_point_restore:
    environment_name: production
    database: {name: tradingflow, user: postgres, password: "{{ vault_superuser_password }}"}
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    mode: tables
    recovery_point: 20261123T204030Z-3fa9c1
    tables: [public.orders]
"""

RETURN = r"""
restore:
  description: What the ledger keeps.
  returned: when a recovery point was chosen
  type: dict
  contains:
    recovery_point:
      description: Its id.
      type: str
      sample: 20261123T204030Z-3fa9c1
    worst_status:
      description: The worst status of the checks.
      type: str
    changed:
      description: Whether anything was put in place.
      type: bool
    refused:
      description: What forbade it.
      type: list
      elements: str
    overrides:
      description: What was overridden.
      type: list
      elements: str
    kept:
      description: What was put aside.
      type: list
      elements: str
    seconds:
      description: How long it took.
      type: float
    data_loss_seconds:
      description: Seconds of data lost, null when not measured.
      type: float
    phases:
      description: Seconds by phase.
      type: dict
restored:
  description: Whether everything asked for is in place and proven.
  returned: always
  type: bool
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
  description: What would be done, with sizes in bytes, and what forbids it (C(refusals)).
  returned: in check mode
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.options import SPEC

from ..module_utils._work import detached
from ..module_utils._work.job import RESTORE


def main() -> None:
    module = AnsibleModule({**SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    result = detached.run(
        module.params,
        module.check_mode,
        RESTORE,
        engine.plan,
        engine.run,
        lambda result: remove_values(result, module.no_log_values),
    )
    module.exit_json(changed=bool(result.pop("changed", False)), **result)


if __name__ == "__main__":
    main()
