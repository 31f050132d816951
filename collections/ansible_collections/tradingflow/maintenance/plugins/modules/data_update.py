#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: data_update
short_description: Carry out a declared change of rows, in batches, verified and undoable
version_added: "0.1.0"
description:
  - Changes the rows of one table that match a predicate, in batches by a unique key up to a bound that is fixed at the
    start. The rows' values before, where it is, and the change itself are written in one transaction.
  - Verifies each batch and the whole. What is not as declared stops it, and it undoes what it did.
  - Undoes a change later; rows that others changed since are left alone and listed.
  - Can be run again at any time, also after C(kill -9); it goes on from where it is.
  - Expressions and queries are read by PostgreSQL's own parser on the controller. C(CURRENT_TIMESTAMP), C(CURRENT_DATE)
    and C(LOCALTIMESTAMP) are the moment at which the update began, in all batches. Names mean those of pg_catalog, then
    of O(change.schema).
  - Refuses what it could not undo or verify - tables without a unique key that is never null, partition keys, rules,
    policies that hide rows, triggers that are not named, foreign keys that would change other tables, functions that
    are volatile and not named.
  - Keeps its books in the schema C(tradingflow_data_update) of the database, which only the role that works may use.
  - In check mode, says what would be done, with the SQL, the number of rows, a sample, and a digest.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - psycopg2
  - boto3
  - pglast on the controller
options:
  environment_name:
    description: Name of the environment, part of every key.
    type: str
    required: true
  database:
    description:
      - The database, as the role that owns the table, or one that may update it; never a superuser. It needs CREATE on
        the database, and C(pg_monitor) where there are replicas.
    required: true
  role:
    description: The role to work as, of which O(database.user) is a member.
    type: str
  change:
    description: The declared change (schemas/data-update-1.json).
    type: dict
    required: true
    suboptions:
      id:
        description: Its name, for ever. A change is carried out once.
        type: str
        required: true
      reason:
        description: Why it is made. It goes on the record.
        type: str
        required: true
      schema:
        description: The schema of the table.
        type: str
        default: public
      table:
        description: The table, without quotes.
        type: str
        required: true
      predicate:
        description: Which rows are changed; one SQL expression over a row of the table.
        type: str
        required: true
      set:
        description: Columns, and the SQL expression that each becomes.
        type: dict
        required: true
      expected:
        description: How many rows are changed, at least and at most.
        type: dict
        required: true
        suboptions:
          min:
            description: At least.
            type: int
            required: true
          max:
            description: At most.
            type: int
            required: true
      whole_table:
        description: Whether it is meant that every row matches.
        type: bool
        default: false
      check:
        description: What must hold for each row afterwards; one SQL expression over a row of the table.
        type: str
      invariants:
        description: What must be afterwards as it was before.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Its name.
            type: str
            required: true
          sql:
            description: A query that gives one value.
            type: str
            required: true
          equals:
            description: The value, as text, before and afterwards. Without it, the value before.
            type: str
          each_batch:
            description: Whether it is asked after each batch too, before that is committed.
            type: bool
            default: false
      volatile:
        description: Volatile functions that may be called.
        type: list
        elements: str
        default: []
      triggers:
        description: Triggers of the table that may run. What they do elsewhere is not undone.
        type: list
        elements: str
        default: []
      batch_rows:
        description: Rows of a batch. It may be another each time that it goes on.
        type: int
        default: 10000
      sample_rows:
        description: Rows that the plan shows, as they are and would be.
        type: int
        default: 5
      throttle:
        description: When the next batch waits.
        type: dict
        suboptions:
          pause:
            description: Seconds between two batches.
            type: float
            default: 0.0
          replication_lag:
            description: While a replica is more seconds behind than this; 0 for no matter.
            type: float
            default: 10.0
          wal_rate:
            description: Bytes of WAL a second that the server may write, on average of a batch; 0 for no limit.
            type: int
            default: 0
          lock_waiters:
            description: While more sessions than this wait for a lock of the table.
            type: int
            default: 0
          autovacuum:
            description: While a VACUUM, ANALYZE or their like is at the table.
            type: bool
            default: true
          patience:
            description: Seconds after which a wait ends the run, which can go on later.
            type: float
            default: 3600.0
  action:
    description:
      - V(run) carries the change out, or goes on with it, also with undoing it.
      - V(undo) puts the values back.
      - V(purge) removes the before-images of all updates that ended before O(purge_before) and that nothing needs.
    type: str
    default: run
    choices: [run, undo, purge]
  expected_digest:
    description: The digest that the plan gave. With another one, nothing is done.
    type: str
  purge_before:
    description: The day before which updates must have ended, such as V(2026-10-01).
    type: str
  purge_days:
    description: Days that before-images are kept at least.
    type: int
    default: 30
  recovery_point_age:
    description: Seconds that the newest recovery point may be old when a change begins.
    type: int
    default: 3600
  lock_timeout:
    description: Seconds that a statement may wait for a lock, while others wait behind it.
    type: float
    default: 2.0
  statement_timeout:
    description: Seconds that a statement may take.
    type: float
    default: 300.0
  attempts:
    description: How often a batch is tried that did not get its locks.
    type: int
    default: 10
  window_ends:
    description:
      - Until when the gates allow it, such as C(2026-12-06T02:00:00+00:00). No batch begins after that; what is
        left goes on when it is run again.
    type: str
  retry_pause:
    description: Seconds before the second attempt; each further pause is about twice as long, up to a minute.
    type: float
    default: 1.0
  evidence:
    description: The keys to read the ledger by, which knows of an update whose end is not on record. Check mode only.
    type: dict
    suboptions:
      signing_key:
        description: Ed25519 private key in PEM.
        type: str
      signing_key_file:
        description: File of it.
        type: path
      trusted_key_files:
        description: Public keys whose records count. Without them only the signing key's own.
        type: list
        elements: path
        default: []
  scratch_directory:
    description: Where a private folder is made for the work's state.
    type: path
    default: /var/tmp
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Says what would be done, with the SQL and its digest, and changes nothing.
    support: full
  diff_mode:
    description: The plan has the SQL and a sample of rows.
    support: none
notes:
  - With O(run), a failed update does not fail the task but is critical in the report, which ends the run. Without it,
    the task fails.
"""

EXAMPLES = r"""
- name: Count users who have not logged in for long as active
  tradingflow.maintenance.data_update:
    environment_name: staging
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    database:
      host: db.staging.example.com
      name: tradingflow
      user: tradingflow
      password: "{{ vault_tradingflow_owner_password }}"
    change:
      id: last-login-2026
      reason: Accounts were moved, and nobody could log in meanwhile.
      table: users
      predicate: last_login < CURRENT_TIMESTAMP - INTERVAL '90 days'
      set:
        last_login: CURRENT_TIMESTAMP
      expected: {min: 100, max: 200}
      check: last_login = CURRENT_TIMESTAMP
    expected_digest: d0df25b66f1a40bd71d6a1a1c4e6fd2b2ba0a5f3a5bd8b9d0e0b5e8f4c7d6a21
"""

RETURN = r"""
data_update:
  description: What the ledger keeps.
  returned: not in check mode
  type: dict
  contains:
    state:
      description: V(ended).
      type: str
    digest:
      description: SHA-256 of what was to be done.
      type: str
    update:
      description: The update as it is - C(number), C(state), C(rows), C(batches), C(restored), C(ended_at).
      type: dict
    worst_status:
      description: The worst status of its checks.
      type: str
    seconds:
      description: How long it took, in s.
      type: float
updated:
  description: Whether it ended well; that there was nothing to do is well.
  returned: not in check mode
  type: bool
intent:
  description: What the ledger keeps of an update that begins.
  returned: in check mode
  type: dict
late:
  description:
    - What the ledger is to get of an earlier update whose end is not on record, once nothing is left to do of it; else
      null.
  returned: in check mode
  type: dict
plan:
  description: What would be done - C(count), C(sample), C(sql), C(estimate), C(digest), C(refusals) and more.
  returned: in check mode
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
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.options import SPEC

from ..module_utils._work import detached
from ..module_utils._work.job import DATA_UPDATE


def main() -> None:
    module = AnsibleModule({**SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    # What the controller understood of the change's SQL comes with the run, from the action plugin only.
    prepared = (module.params["run"] or {}).get("prepared")
    if not prepared:
        module.fail_json(
            msg="The change's SQL was not read on the controller: use this as an action of the collection."
        )
    result = detached.run(
        {**module.params, "prepared": prepared},
        module.check_mode,
        DATA_UPDATE,
        engine.plan,
        engine.run,
        lambda result: remove_values(result, module.no_log_values),
    )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
