#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: log_checks
short_description: Check the logs of a managed host
version_added: "0.1.0"
description:
  - Reads files, the journal and logs of containers on the host from where the last run ended, in bounded memory, and
    counts entries per level.
  - Judges errors per hour against limits and against what earlier reports say is usual, and names kinds of errors
    that no earlier report has seen, with a sample each (docs/checks.md).
  - Samples leave the host without passwords, tokens, keys and credentials in addresses.
  - What cannot be read, or read in part only, is unknown. The task never fails because of what it finds.
  - A host that cannot be reached is put into the run's folder as unknown, and is unreachable to Ansible as ever.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  sources:
    description: The logs of this host.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What its checks are named by. Another name has no past.
        type: str
        required: true
      kind:
        description: Where it is. Each kind has options of its own, which it needs.
        type: str
        choices: [file, journal, container]
        default: file
      path:
        description:
          - For C(kind=file), the file or a pattern such as C(/var/log/app/*.log).
          - What was rotated away beside it (C(app.log.1), C(app.log.2.gz), C(app-2026-11-23.log), C(app.log.old)) is
            read too, as far as it is of the time in question.
        type: str
        default: ""
      unit:
        description:
          - For C(kind=journal), the unit of systemd; C(*) is all of them.
          - The user needs to be in the group systemd-journal or adm.
        type: str
        default: ""
      container:
        description: For C(kind=container), its name.
        type: str
        default: ""
      runtime:
        description: The program that gives out the container's log.
        type: str
        choices: [docker, podman, crictl]
        default: docker
      format:
        description: C(auto) tells the others apart line by line.
        type: str
        choices: [auto, json, logfmt, text]
        default: auto
      level_pattern:
        description: Regular expression for the level of a line; its only group, or else all it matches, is the level.
        type: str
        default: ""
      levels:
        description:
          - What words or numbers of the log mean; one of debug, info, warning, error or critical for each.
          - Numbers are unknown otherwise, as loggers disagree about them.
        type: dict
        default: {}
      time_pattern:
        description: Regular expression for the time of a line; its only group, or else all it matches, is the time.
        type: str
        default: ""
      time_format:
        description: How what O(sources[].time_pattern) finds is written, as for C(strptime); empty for the usual ways.
        type: str
        default: ""
      time_zone:
        description: Zone of times that name none. C(local) is the host's; others are such as C(UTC) or C(Asia/Tokyo).
        type: str
        default: local
      since:
        description: As O(since), for this source.
        type: str
        default: ""
      quiet_ok:
        description: Whether it is well that nothing is logged between two runs. By default that is unknown.
        type: bool
        default: false
      fresh_ok:
        description:
          - Whether it is well that the log begins within the time in question, as on a new host, or that a file which
            the last run read is gone. By default what may have been lost with it makes the checks unknown.
        type: bool
        default: false
      exclude:
        description:
          - Names of files beside it that are no part of it, as patterns such as C(app.log.json); with a slash in it a
            pattern is of the whole path.
        type: list
        elements: str
        default: []
      max_plain_lines:
        description:
          - Most lines in a row without a time and a level that may follow an entry which is no error. Programs print
            such lines when they die; raise it for a log with tables or banners.
        type: int
        default: 5
      harmless:
        description:
          - Regular expressions of errors that are none here, found anywhere in their message; they count as warnings.
          - For what a program calls an error and nobody needs to look into, such as a client that went away.
        type: list
        elements: str
        default: []
      last_read:
        description: Up to where the last run read the files. The action plugin sets it from the earlier reports.
        type: dict
        default: {}
      max_unknown_levels:
        description: Share of entries without a level that can be told, in percent, above which nothing is ok.
        type: float
        default: 10
      max_bytes:
        description: Most bytes to read of the time in question. When there are more, nothing is ok.
        type: int
        default: 67108864
      max_line:
        description: Most bytes of a line to look at; of a longer one also its end.
        type: int
        default: 16384
      timeout:
        description: Seconds the program that gives out a journal or a container's log may take.
        type: int
        default: 60
      errors:
        description: As in O(thresholds), for this source.
        type: dict
        suboptions:
          warning:
            description: Warning from here on, instead of the general threshold.
            type: float
          critical:
            description: Critical from here on, instead of the general threshold.
            type: float
  expected:
    description: Whether this host should have O(sources). If so, none are unknown.
    type: bool
    default: true
  since:
    description:
      - From when on to read; seconds before now, or a time with its zone such as C(2026-11-24T06:00:00Z).
      - By default from where the last run that read the source ended, else one day.
    type: str
    default: ""
  thresholds:
    description:
      - From which value on a check is a warning or critical. What is left out keeps its default.
      - C(.inf) means that there is no such threshold.
    type: dict
    suboptions:
      errors:
        description: Errors (levels error and critical) per hour. What counts is this or O(growth), whichever is less.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 100
          critical:
            description: Critical from here on.
            type: float
            default: 1000
      new_errors:
        description: Number of kinds of errors that no earlier report has seen.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
  growth:
    description: From how many times the usual errors per hour on it is bad; usual is the median of earlier reports.
    type: dict
    suboptions:
      warning:
        description: Warning from here on.
        type: float
        default: 3
      critical:
        description: Critical from here on.
        type: float
        default: 10
  minimum:
    description: Fewer errors than this are not held against O(growth).
    type: int
    default: 10
  runs:
    description: Earlier reports it takes to know what is usual. Until then only O(thresholds) apply.
    type: int
    default: 5
extends_documentation_fragment:
  - tradingflow.maintenance.run
"""

EXAMPLES = r"""
- name: Check the logs
  tradingflow.maintenance.log_checks:
    run: "{{ maintenance_run }}"
    sources:
      - name: tradingflow
        path: /var/log/tradingflow/*.log
      - name: nginx
        path: /var/log/nginx/error.log
        quiet_ok: true
        errors: {warning: 20, critical: 200}
      - name: postgresql
        kind: journal
        unit: postgresql.service
      - name: gateway
        kind: container
        container: tradingflow-gateway
        levels: {"40": warning, "50": error, "60": critical}
"""

RETURN = r"""
checks:
  description: The checks, as contract 1.
  returned: always
  type: list
  elements: dict
  sample:
    - id: logs.errors:tradingflow
      title: Errors in the log of tradingflow
      status: ok
      value: 0.5
      unit: per hour
      warning: 3.2
      critical: 10.6
      message: 12 errors in 24.0 h, 0.5 an hour; usual is 0.4 an hour, the median of 29 runs.
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: always
  type: str
  sample: ok
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._checks.logs import LOGS_SPEC
from ..module_utils._logs.reading import SINCE, read
from ..module_utils.errors import MaintenanceError


def main() -> None:
    module = AnsibleModule(argument_spec={**LOGS_SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    options = module.params
    try:
        readings = [read(source, source["since"] or options["since"] or SINCE) for source in options["sources"]]
    except MaintenanceError as error:
        module.fail_json(msg=str(error))
    # Judged by the action plugin of the same name, on the controller.
    module.exit_json(changed=False, readings=readings)


if __name__ == "__main__":
    main()
