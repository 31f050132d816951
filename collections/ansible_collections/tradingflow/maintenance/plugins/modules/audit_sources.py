#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_sources
short_description: Collect the journal, logs, versions and clock history of a host for an audit
version_added: "0.1.0"
description:
  - Collects what a managed host has of a period into a folder there, compressed, with C(collected.json), which says of
    each source what was run, what came of it, two counts of it, and what is missing (docs/audit.md).
  - Each file of the journal is read on its own, so that a corrupt one does not end the others.
  - A source is complete only when nothing was skipped, both counts agree, and there is something or O(logs[].empty_ok)
    is set. What is wrong with a source is in what is returned; the task does not fail because of it.
  - What was complete when an earlier call was killed is not collected again.
  - Nothing is redacted here. The folder is for its owner alone; remove it with O(state=absent) when it was fetched.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  host:
    description: The host's name in what is collected.
    type: str
    required: true
  period:
    description: What is collected. A period that has not ended is refused.
    type: dict
    required: true
    suboptions:
      from:
        description: Its begin, which belongs to it, such as C(2026-10-01T00:00:00Z).
        type: str
        required: true
      to:
        description: Its end, which does not.
        type: str
        required: true
  staging:
    description:
      - Folder on the host to collect into. It is made with mode 0700.
      - A folder that is there is taken only if this module made it.
    type: path
    required: true
  state:
    description: Whether to collect, or to remove O(staging).
    type: str
    choices: [present, absent]
    default: present
  owner:
    description:
      - User who gets the folder at the end, so that it can be fetched without becoming root.
      - Empty leaves it to the user who runs the module.
    type: str
    default: ""
  journal:
    description: Whether to collect the journal. It takes root, or the group systemd-journal.
    type: bool
    default: true
  versions:
    description: Whether to collect what is installed, in which versions.
    type: bool
    default: true
  clock:
    description: Whether to collect what time services logged, and how the clock is kept now.
    type: bool
    default: true
  logs:
    description: Logs of applications and containers.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The source's name, of small letters, digits and C(_.-).
        type: str
        required: true
      kind:
        description:
          - Where it is.
          - C(kubernetes) is not collected yet; such a source is failed.
        type: str
        choices: [file, container, kubernetes]
        default: file
      path:
        description:
          - For C(kind=file), the file or a pattern such as C(/var/log/app/*.log).
          - What was rotated away beside it (C(app.log.1), C(app.log.2.gz), C(app-2026-11-23.log)) is read too.
        type: str
        default: ""
      exclude:
        description: Patterns of names of files beside it that are no part of it; with a slash, of the whole path.
        type: list
        elements: str
        default: []
      container:
        description: For C(kind=container), its name.
        type: str
        default: ""
      runtime:
        description: The program that gives out the container's log.
        type: str
        choices: [docker, podman, crictl]
        default: docker
      time_pattern:
        description: Regular expression for the time of a line; its only group, or else all it matches, is the time.
        type: str
        default: ""
      time_format:
        description: How what O(logs[].time_pattern) finds is written, as for C(strptime); empty for the usual ways.
        type: str
        default: ""
      time_zone:
        description: Zone of times that name none. C(local) is the host's; others are such as C(UTC) or C(Asia/Tokyo).
        type: str
        default: local
      empty_ok:
        description: Whether it is well that it has no line of the period. By default the source is failed then.
        type: bool
        default: false
      fresh_ok:
        description: Whether it is well that it begins within the period. By default that is a gap.
        type: bool
        default: false
  journal_folders:
    description: Folders in which the journal's files are.
    type: list
    elements: path
    default: [/var/log/journal, /run/log/journal]
  chrony_folder:
    description: Folder of chrony's logs, as its C(logdir) says.
    type: path
    default: /var/log/chrony
  clock_measured:
    description:
      - Days of the period, in UTC, of which a daily run measured the clock, such as C(2026-10-01).
      - Of each day, there must be such a measurement, or something that a time service logged.
    type: list
    elements: str
    default: []
  settle:
    description: So many seconds after the end of the period, logs are whole. Before that they are partial.
    type: int
    default: 900
  max_bytes:
    description: Most bytes to write. Of the disk 5 percent stay free in any case.
    type: int
    default: 20000000000
  timeout:
    description: Seconds a program may take, for each file of the journal and each container.
    type: int
    default: 900
  workers:
    description: How many sources, and files of the journal, are collected at once.
    type: int
    default: 2
attributes:
  check_mode:
    description: Collects nothing.
    support: full
"""

EXAMPLES = r"""
- name: Collect October's evidence of the host
  tradingflow.maintenance.audit_sources:
    host: "{{ inventory_hostname }}"
    period: {from: "2026-10-01T00:00:00Z", to: "2026-11-01T00:00:00Z"}
    staging: /var/tmp/tradingflow-audit-2026-10
    owner: "{{ ansible_user }}"
    logs:
      - name: tradingflow
        path: /var/log/tradingflow/*.log
      - name: gateway
        kind: container
        container: tradingflow-gateway
        runtime: podman
  become: true
"""

RETURN = r"""
collected:
  description: What C(collected.json) says, see docs/audit.md. Empty in check mode, and when the folder was removed.
  returned: success
  type: dict
  sample:
    version: 1
    host: app1
    period: {from: "2026-10-01T00:00:00Z", to: "2026-11-01T00:00:00Z"}
    collector: {name: tradingflow.maintenance, version: 0.1.0}
    sources:
      - name: journal
        kind: journal
        outcome: complete
        records: 182334
staging:
  description: The folder.
  returned: success
  type: str
files:
  description: Files in it, relative to it, C(collected.json) first.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._audit.host import SPEC, collect, remove
from ..module_utils.errors import MaintenanceError


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    options = module.params
    result = {"changed": False, "collected": {}, "staging": options["staging"], "files": []}
    try:
        if module.check_mode:
            pass
        elif options["state"] == "absent":
            result["changed"] = remove(options["staging"], options["owner"])
        else:
            result = {"changed": True, **collect(options)}
    except MaintenanceError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
