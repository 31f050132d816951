#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbackrest_setup
short_description: Set pgBackRest up on a database's host
version_added: "0.1.0"
description:
  - Writes pgBackRest's configuration, creates the stanza, has the server archive its WAL, gives the maintenance user
    what recovery points need, schedules backups, and lets pgBackRest check all of it.
  - Deletes nothing in a repository, and has pgBackRest expire nothing.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - pgBackRest 2.45 or newer
  - psycopg2
options:
  stanza:
    description: Name of the cluster in the repositories.
    type: str
    required: true
  repositories:
    description: Where backups and WAL go, each a bucket or a part of one, in order; WAL goes to all of them.
    type: list
    elements: dict
    required: true
    suboptions:
      bucket:
        description: The bucket.
        type: str
        required: true
      path:
        description: Put before every key. Nothing else may be there.
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
        description: File of the CA that signed the store's certificate, readable by O(run_as).
        type: path
      addressing_style:
        description: How the bucket is named in the URL. V(auto) is the path for stores other than AWS's.
        type: str
        default: auto
        choices: [auto, path, virtual]
      cipher_pass:
        description: What the repository is encrypted with. Without it no backup can be restored.
        type: str
      encryption:
        description: Encryption of the repository; it cannot be changed later.
        type: str
        default: aes-256-cbc
        choices: [aes-256-cbc, none]
      bundle:
        description: Whether small files are put together, which saves requests.
        type: bool
        default: true
      block:
        description:
          - Whether incremental and differential backups hold blocks that changed instead of whole files.
          - Without it that is so from pgBackRest 2.55 on, with O(repositories[].bundle).
        type: bool
  database_name:
    description: The database in which rights are given, and to which is connected.
    type: str
    required: true
  maintenance_user:
    description: The role that makes recovery points. It has to be there. Without it no rights are given.
    type: str
  config_file:
    description: Where the configuration is written, mode 0600, of O(run_as).
    type: path
    default: /etc/pgbackrest/pgbackrest.conf
  program:
    description: Where pgBackRest is. Without it the PATH is searched.
    type: path
  run_as:
    description: The user that owns the server's files. Without it V(postgres) for root, else who runs the module.
    type: str
  data_directory:
    description: The server's data directory. Without it the server is asked.
    type: path
  port:
    description: The server's port.
    type: int
    default: 5432
  socket_directory:
    description: Where the server's socket is.
    type: path
    default: /var/run/postgresql
  database_user:
    description: Role that pgBackRest connects as. Without it that of the name of O(run_as).
    type: str
  superuser:
    description: Role that the settings are made as, by the socket, as O(run_as). Without it that of its name.
    type: str
  compression:
    description: Compression of backups and WAL.
    type: str
    default: zst
    choices: [zst, lz4, gz, none]
  compression_level:
    description: Its level, pgBackRest's own without it.
    type: int
  process_max:
    description: Processes at a time.
    type: int
    default: 2
  archive_async:
    description: Whether WAL is archived by several processes, ahead of what the server asks for.
    type: bool
    default: true
  archive_timeout:
    description: Seconds after which the server archives a segment that is not full, 1 to 300.
    type: int
    default: 300
  wait_for_wal:
    description: Seconds that a backup waits for its WAL.
    type: int
    default: 60
  spool_path:
    description: Where the state of asynchronous archiving is.
    type: path
    default: /var/spool/pgbackrest
  log_path:
    description: Where pgBackRest's logs are.
    type: path
    default: /var/log/pgbackrest
  lock_path:
    description: Where its locks are.
    type: path
    default: /tmp/pgbackrest
  restart:
    description: Whether the server may be restarted when a setting needs it.
    type: bool
    default: false
  restart_command:
    description: The program that restarts it, with its arguments.
    type: list
    elements: str
    default: []
  upgrade_stanza:
    description: Whether the stanza is upgraded when the cluster is another now, as after a major upgrade.
    type: bool
    default: false
  scheduler:
    description: What starts backups by a schedule, V(timer) of systemd, V(cron), or nothing.
    type: str
    default: none
    choices: [timer, cron, none]
  schedule:
    description: When, by type, C(full), C(diff), C(incr), in the words of O(scheduler).
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be changed.
    support: full
  diff_mode:
    description: Configuration without secrets, settings, rights and schedules.
    support: full
notes:
  - Run it on the database's host, as root or as O(run_as).
"""

EXAMPLES = r"""
- name: Set pgBackRest up
  tradingflow.maintenance.pgbackrest_setup:
    stanza: production
    database_name: tradingflow
    maintenance_user: tradingflow_maintenance
    repositories:
      - bucket: tradingflow-backups
        path: pgbackrest/production
        region: eu-central-1
        access_key: "{{ vault_access_key }}"
        secret_key: "{{ vault_secret_key }}"
        cipher_pass: "{{ vault_cipher_pass }}"
    scheduler: timer
    schedule: {full: "Sun 02:00", diff: "Mon..Sat 02:00", incr: "hourly"}
"""

RETURN = r"""
steps:
  description: What was changed, or would be.
  returned: always
  type: list
  elements: str
restart_needed:
  description: Whether settings wait for a restart of the server; until then nothing is archived.
  returned: always
  type: bool
checked:
  description: Whether pgBackRest's own check of archiving went well; false in check mode and before the restart.
  returned: always
  type: bool
pgbackrest_version:
  description: The version of pgBackRest.
  returned: always
  type: str
  sample: "2.45"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest.setup import SPEC, Setup
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError


def main() -> None:
    module = AnsibleModule(SPEC, supports_check_mode=True)
    setup = None
    try:
        setup = Setup(module.params, module.check_mode)
        result = setup.run()
    except MaintenanceError as error:
        done = setup.steps if setup else []
        module.fail_json(msg=str(error), changed=bool(done) and not module.check_mode, steps=done)
    if result["restart_needed"]:
        # Shown whatever the callback shows.
        module.warn(
            "Nothing is archived before the server is restarted: restart it, or allow that"
            " (backup_pgbackrest_restart=true); then run this again, so that pgBackRest checks the archive."
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
