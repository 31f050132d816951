#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_housekeeping
short_description: Clean up temporary files of a host by a plan
version_added: "0.1.0"
description:
  - In check mode, lists exactly what would go, and changes nothing. Otherwise takes away what O(planned) lists and is
    still the same, and nothing else (docs/housekeeping.md).
  - Temporary files go as whole entries of a declared directory, by the newest time of all that is in them. What any
    process has open, mapped or as its folder stays, as do sockets, pipes, devices, and what has to do with a mount.
  - No link is followed. An entry is first moved out of reach within its directory; what turns out to be in use or
    changed then gets its place back.
  - Without root nothing is removed, as only root sees what is in use.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  temporary:
    description: Directories of temporary files. A link is refused, and so are the system's own directories.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory.
        type: path
        required: true
      days:
        description: For how long nothing in an entry was changed or read before it may go.
        type: float
        default: 10
      quarantine_days:
        description: For how long entries stay set aside, in a folder for root alone, before they go. 0 for at once.
        type: float
        default: 0
      owners:
        description: Only what belongs to these users altogether, by name or id. Empty for all.
        type: list
        elements: str
        default: []
      names:
        description: Only entries of these names, as shell patterns.
        type: list
        elements: str
        default: ["*"]
      keep:
        description: Entries of these names stay, as shell patterns.
        type: list
        elements: str
        default: []
      reads:
        description: Whether the time of the last read of a file counts, too.
        type: bool
        default: true
  maximum:
    description: How many entries of a directory go at most.
    type: int
    default: 5000
  look_at:
    description: How many files and folders of a directory are looked at. An entry beyond stays, and is told.
    type: int
    default: 2000000
  planned:
    description: RV(plan.tokens) of check mode. Nothing else is removed.
    type: list
    elements: str
    default: []
  approved:
    description: Digests of plans that were approved. Another plan is refused. Empty for any plan.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Lists what would go, and changes nothing.
    support: full
  diff_mode:
    description: The plan has the entries.
    support: none
notes:
  - With O(run), what goes wrong does not fail the task but is told by the report. Without it, the task fails.
"""

EXAMPLES = r"""
- name: List what would go
  tradingflow.maintenance.host_housekeeping:
    temporary:
      - {path: /tmp, days: 10}
  check_mode: true
  become: true
  register: listed

- name: Take exactly that away
  tradingflow.maintenance.host_housekeeping:
    temporary:
      - {path: /tmp, days: 10}
    planned: "{{ listed.plan.tokens }}"
  become: true
"""

RETURN = r"""
plan:
  description: What would go, by class - C(temporary) with one part for each directory, C(tokens), C(digest).
  returned: when the host could be asked
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

from ..module_utils._housekeeping import engine
from ..module_utils._housekeeping.options import SPEC
from ..module_utils._work.job import outcome


def main() -> None:
    module = AnsibleModule({**SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    work = engine.plan if module.check_mode else engine.run
    module.exit_json(**{"changed": False, **outcome(lambda: work(module.params))})


if __name__ == "__main__":
    main()
