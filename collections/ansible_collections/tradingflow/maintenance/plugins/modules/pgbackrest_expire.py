#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbackrest_expire
short_description: Delete backups of pgBackRest that retention has given up
version_added: "0.1.0"
description:
  - Has pgBackRest delete the backups that M(tradingflow.maintenance.recovery_point_retention) names, on the host that
    has its configuration, and then the WAL that no remaining backup needs.
  - Rehearses each step and reads what pgBackRest says it would delete. What something else was made from stays.
  - Proves from the controller, by listing the store before and after, that exactly those backups have gone, that every
    other is as it was, and that no WAL has gone but what pgBackRest said.
  - Decides nothing by itself. Never give it labels of backups whose recovery points still exist.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - pgBackRest 2.45 or newer on the host
  - boto3 on the controller
options:
  backups:
    description: Labels of the backups to delete; without any, only WAL goes.
    type: list
    elements: str
    required: true
  remove_wal:
    description: Whether to delete WAL that is older than what the oldest remaining backup needs.
    type: bool
    default: true
  stanza:
    description: Name of the cluster in the repository.
    type: str
    required: true
  repository:
    description: Number of the repository in pgBackRest's configuration.
    type: int
    default: 1
  repository_path:
    description: Its key prefix in the bucket of O(storage).
    type: str
    required: true
  config_file:
    description: PgBackRest's configuration.
    type: path
    default: /etc/pgbackrest/pgbackrest.conf
  program:
    description: Where pgBackRest is; by default in the C(PATH).
    type: path
  run_as:
    description: Whom it runs as, by default C(postgres) when we are root.
    type: str
extends_documentation_fragment:
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Rehearses.
    support: full
  diff_mode:
    description: The backups before and after.
    support: full
"""

EXAMPLES = r"""
- name: Decide what goes
  tradingflow.maintenance.recovery_point_retention:
    environment_name: production
    storage: "{{ tradingflow_storage }}"
    evidence: "{{ tradingflow_evidence }}"
    rules: {keep_last: 7, keep_days: 30}
    repository: {stanza: production, repository_path: pgbackrest/production}
  register: decided

- name: Delete the physical backups of what went
  tradingflow.maintenance.pgbackrest_expire:
    storage: "{{ tradingflow_storage }}"
    stanza: production
    repository_path: pgbackrest/production
    backups: "{{ decided.backups }}"
  delegate_to: db.example.com
"""

RETURN = r"""
expired:
  description: Labels of the backups that went, or would go.
  returned: when pgBackRest could be asked
  type: list
  elements: str
refused:
  description: Why a backup is still there, by its label.
  returned: when pgBackRest could be asked
  type: dict
wal:
  description: WAL that went, with C(archive), C(start) and C(stop).
  returned: when pgBackRest could be asked
  type: list
  elements: dict
wal_refused:
  description: Why no WAL went; empty when it could.
  returned: when pgBackRest could be asked
  type: str
wal_needed:
  description: The first segment that a remaining backup needs, by archive.
  returned: when pgBackRest could be asked
  type: dict
checks:
  description: retention.repository, as contract 1.
  returned: always
  type: list
  elements: dict
worst_status:
  description: Its status.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest.expire import EXPIRE_SPEC, Expiry
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError


def main() -> None:
    module = AnsibleModule(EXPIRE_SPEC, supports_check_mode=True)
    try:
        result = Expiry(module.params, module.check_mode).run()
    except MaintenanceError as error:
        module.fail_json(msg=error.message, remedy=error.remedy)
    module.exit_json(**result.as_dict(bool(result.expired or result.wal)))


if __name__ == "__main__":
    main()
