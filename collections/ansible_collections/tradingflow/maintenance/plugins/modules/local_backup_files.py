#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: local_backup_files
short_description: Delete old files of backups from folders of a host
version_added: "0.1.0"
description:
  - Deletes regular files of a folder itself, not of folders in it, whose names fit and that were last changed long ago.
  - Follows no link, neither in the folder nor as the folder. A folder that does not exist is fine.
  - Knows nothing of recovery points. The role C(backup) calls it only after one was made and verified.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  directories:
    description: Where to look.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The folder, absolute, at least two levels deep.
        type: path
        required: true
      patterns:
        description: What the files are called, such as C(db_*.sql.gz); three characters of its own at least.
        type: list
        elements: str
        required: true
      days:
        description: Files go that were last changed more than so many days ago.
        type: int
        default: 30
extends_documentation_fragment:
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Says what would go.
    support: full
  diff_mode:
    description: The paths that go.
    support: full
"""

EXAMPLES = r"""
- name: Delete what the old script has left
  tradingflow.maintenance.local_backup_files:
    directories:
      - path: /backups/tradingflow
        patterns: [db_*.sql, app_*.tar.gz]
        days: 30
"""

RETURN = r"""
deleted:
  description: Paths that went, or would go, oldest first in each folder.
  returned: success
  type: list
  elements: str
freed_bytes:
  description: Their bytes.
  returned: success
  type: int
problems:
  description: Why something could not be deleted or looked at, by its path.
  returned: success
  type: dict
checks:
  description: backup.local_files, as contract 1.
  returned: always
  type: list
  elements: dict
worst_status:
  description: Its status.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError

from ..module_utils._retention.local_files import SPEC, clean


def main() -> None:
    module = AnsibleModule({**SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    try:
        result = clean(module.params, check=module.check_mode)
    except MaintenanceError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
