#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: schema_migration
short_description: Carry out the revisions of an alembic project, one at a time
version_added: "0.1.0"
description:
  - Looks at which revision the database is, and carries out those up to O(target), each in a transaction of its own, by
    the project's own Python and env.py.
  - One migrator at a time, by an advisory lock that a session of its own takes by polling.
  - Sets C(lock_timeout) and C(statement_timeout) before every attempt and reads them back. A revision that did not get
    its locks is tried again after a pause; who was in its way is named, and never ended.
  - Statements outside a transaction, such as CREATE INDEX CONCURRENTLY, have no C(lock_timeout), as it leaves invalid
    indexes, but O(concurrent_deadline). A wait of theirs that blocks others ends like any other.
  - In check mode, reviews the SQL of each revision by squawk and by rules of our own for what squawk is silent about,
    and crosses what they find with the size of the tables, their writes a second and the longest transaction.
  - Refuses diverging heads, a revision that the project does not have, and tables without a revision. Begins only with
    a recovery point of this database that is not older than O(recovery_point_age).
  - Drops invalid indexes that an earlier attempt of its own left, and goes on from what that had carried out outside a
    transaction; never drops anybody else's. C(IF NOT EXISTS) fails on an invalid index.
  - Compares rows and digests of all tables before and after. A table that changed although the migration held no lock
    on it under which it could have changed it, was changed by others.
  - Can be run again at any time, also after C(kill -9); it goes on at the revision that the database is at.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - psycopg2
  - boto3
  - pglast and squawk-cli on the controller
  - alembic and SQLAlchemy 2 for O(project.python), and whatever the project imports
options:
  environment_name:
    description: Name of the environment, part of every key.
    type: str
    required: true
  database:
    description:
      - The database, as the user that owns its tables. C(pg_monitor) lets it name what others are doing who are in its
        way, and C(pg_read_all_data) lets it compare tables of others.
    required: true
  project:
    description: The alembic project, on the host.
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
        description: Where alembic is run. Without it, the folder of O(project.config).
        type: path
      python:
        description: The project's Python, such as that of its virtual environment. Without it C(python3) of the PATH.
        type: path
      environment:
        description:
          - Its environment, besides PATH, LANG and libpq's PGHOST to PGPASSWORD.
          - In the values these are replaced - C({database_host}), C({database_port}), C({database_name}),
            C({database_user}), C({database_password}), C({database_url}), and C({database_address}), which is the URL
            without C(postgresql://).
          - That env.py connects to O(database), and not elsewhere, is proven before anything is done.
        type: dict
        default: {}
      settings:
        description:
          - Settings of the section, in place of what the file says, such as C(sqlalchemy.url) where env.py takes
            the address from there. The same is replaced in the values.
        type: dict
        default: {}
  target:
    description: The revision to go up to; V(head) for the only head, V(heads) for all.
    type: str
    default: head
  expected_digest:
    description: The digest that the plan gave. With another one, nothing is done.
    type: str
  recovery_point_age:
    description: Seconds that the newest recovery point may be old.
    type: int
    default: 3600
  lock_wait:
    description: Seconds that another migrator is waited for.
    type: int
    default: 30
  lock_timeout:
    description: Seconds that a statement may wait for a lock, while others wait behind it.
    type: float
    default: 1.0
  blocker_wait:
    description:
      - Seconds at most, before the next attempt, in which the transactions that were in the way may end. Nobody waits
        behind the migration meanwhile.
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
  window_ends:
    description:
      - Until when the gates allow it, such as C(2026-12-06T02:00:00+00:00). No revision begins after that; what is
        left goes on when it is run again.
    type: str
  retry_pause:
    description: Seconds before the second attempt; each further pause is about twice as long, up to a minute.
    type: float
    default: 2.0
  digests:
    description: Whether the contents of tables are compared, which reads all of them twice, or only the number of rows.
    type: str
    default: full
    choices: [full, none]
  jobs:
    description: Tables counted at a time.
    type: int
    default: 2
  review:
    description: From where on a statement is dangerous that squawk or our own rules warn of.
    type: dict
    suboptions:
      small_bytes:
        description: Up to this size of its tables it is allowed, where they are not busy.
        type: int
        default: 10485760
      large_bytes:
        description: From this size on it is refused.
        type: int
        default: 1073741824
      busy_writes:
        description: Rows written a second from which on a table is busy.
        type: float
        default: 10.0
      long_transaction:
        description: Age in s of others' transactions from which on even a moment's lock is only for a window.
        type: float
        default: 60.0
  accepted:
    description:
      - Rules of the review that do not forbid the migration, as its findings name them.
      - "V(drift:) and the name of an object, as the finding C(migration.drift) has it, for a difference that stays.
        V(drift-unknown) where the scratch database cannot be built."
    type: list
    elements: str
    default: []
  reason:
    description: Why rules are accepted, or what is required is passed by. It goes on the record.
    type: str
  evidence:
    description: The keys to read the ledger by, which knows of a migration that did not end.
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
  running_version:
    description: The version of the application that all replicas report. Without it, it is not known.
    type: str
  contract_versions:
    description:
      - Versions of the application that do without what a contract takes away. A revision whose module has
        C(phase = "contract") is refused while another one runs, or nobody knows which.
    type: list
    elements: str
    default: []
  verify:
    description:
      - Whether the database's catalogue is compared before and after with that of a scratch database on this host, made
        by the same revisions from nothing on a server of the same major version. What differs before is drift, and is
        refused.
      - The revisions run there in the project's Python as they do here, all from the first on.
    type: str
    default: full
    choices: [full, none]
  pg_bin_dir:
    description: Where C(initdb) and C(postgres) of the server's major version are. Without it the PATH, and where
      distributions put them.
    type: path
  run_as:
    description: Whom the scratch server runs as when this host's user is root. Without it V(postgres), or V(nobody).
    type: str
  requires:
    description: What must have been done before, with the very same SQL. Looked for in check mode, in the ledger.
    type: dict
    suboptions:
      rehearsal:
        description: Whether a rehearsal on a copy of this database is required. Otherwise the report only names it.
        type: bool
        default: false
      environment:
        description: The environment that must have carried it out first, and well.
        type: dict
        suboptions:
          name:
            description: Its name, part of every key.
            type: str
            required: true
          storage:
            description: The S3 store with its ledger. Without it, O(storage).
            type: dict
            suboptions:
              bucket:
                description: The bucket.
                type: str
                required: true
              prefix:
                description: Put before every key.
                type: str
                default: ""
              endpoint:
                description: URL of a store other than AWS's.
                type: str
              region:
                description: The region.
                type: str
                default: us-east-1
              access_key:
                description: Access key. Without it the SDK's own chain is used (role, profile, environment).
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
                description: How the bucket is named in the URL.
                type: str
                default: auto
                choices: [auto, path, virtual]
              connect_timeout:
                description: Seconds to wait for a connection.
                type: int
                default: 5
              read_timeout:
                description: Seconds to wait for an answer.
                type: int
                default: 60
              retry_seconds:
                description:
                  - How long a request is tried again while the store is overloaded, restarting or out of reach.
                  - Where it has not answered yet, and nothing would be lost, 10 s at the most.
                type: int
                default: 120
              max_attempts:
                description: How often a request is tried in all at most, V(0) for as often as this allows.
                type: int
                default: 0
          trusted_key_files:
            description: Public keys that may have signed its ledger. Without them those of O(evidence).
            type: list
            elements: path
            default: []
  overrides:
    description: What of O(requires) is passed by (break-glass). Needs O(reason), and a ledger.
    type: list
    elements: str
    default: []
    choices: [environment, rehearsal]
  scratch_directory:
    description: Where a private folder is made for the work's state, and for the scratch server.
    type: path
    default: /var/tmp
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Says which revisions would be carried out, with their SQL and its digest, and changes nothing.
    support: full
  diff_mode:
    description: The plan has the SQL.
    support: none
notes:
  - With O(run), a failed migration does not fail the task but is critical in the report, which ends the run.
    Without it, the task fails.
"""

EXAMPLES = r"""
- name: Upgrade the schema to the project's head
  tradingflow.maintenance.schema_migration:
    environment_name: staging
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    database:
      host: db.staging.example.com
      name: tradingflow
      user: tradingflow
      password: "{{ vault_tradingflow_owner_password }}"
    project:
      config: /opt/tradingflow/alembic.ini
      python: /opt/tradingflow/venv/bin/python
      environment:
        DATABASE_URL: "postgresql+psycopg2://{database_address}"
"""

RETURN = r"""
migration:
  description: What the ledger keeps.
  returned: when it was begun or refused, not in check mode
  type: dict
  contains:
    state:
      description: V(ended).
      type: str
    from:
      description: Where the database was.
      type: list
      elements: str
    to:
      description: Where it should go.
      type: list
      elements: str
    reached:
      description: Where it is now, null when that could not be read.
      type: list
      elements: str
    digest:
      description: SHA-256 of what was to be carried out.
      type: str
    worst_status:
      description: The worst status of its checks.
      type: str
    seconds:
      description: How long it took, in s.
      type: float
migrated:
  description: Whether it ended well; that there was nothing to do is well.
  returned: not in check mode
  type: bool
intent:
  description: What the ledger keeps of a migration that begins.
  returned: in check mode
  type: dict
late:
  description:
    - What the ledger is to get of an earlier migration whose end is not on record, once nothing is left to do of it;
      else null.
  returned: in check mode
  type: dict
plan:
  description: What would be done - C(current), C(target), C(pending) with each revision's SQL, C(digest), C(refusals).
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
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.options import SPEC

from ..module_utils._work import detached
from ..module_utils._work.job import MIGRATION


def main() -> None:
    module = AnsibleModule({**SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    result = detached.run(
        module.params,
        module.check_mode,
        MIGRATION,
        engine.plan,
        engine.run,
        lambda result: remove_values(result, module.no_log_values),
    )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
