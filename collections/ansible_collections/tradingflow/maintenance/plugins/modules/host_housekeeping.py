#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_housekeeping
short_description: Clean up a host by a plan - temporary files, journal, caches, kernels, rotation and access logs
version_added: "0.1.0"
description:
  - In check mode, lists exactly what would go, and changes nothing. Otherwise takes away what O(planned) lists and is
    still the same, and nothing else (docs/housekeeping.md).
  - Temporary files go as whole entries of a declared directory, by the newest time of all that is in them. What any
    process has open, mapped or as its folder stays, as do sockets, pipes, devices, and what has to do with a mount.
  - No link is followed. An entry is first moved out of reach within its directory; what turns out to be in use or
    changed then gets its place back.
  - Without root nothing is removed, as only root sees what is in use.
  - Configurations of logrotate are put in place once logrotate itself understands them. A damaged state file is
    repaired from the files that are there. What nobody rotates, what is late and what loses lines is told.
  - Access logs are only reviewed - who asks, what fails, what is unusual. Addresses are shortened on the host.
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
  access_logs:
    description: Access logs that are reviewed, with what was rotated away from them.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The log, or a pattern of paths.
        type: path
        required: true
      days:
        description: How many days are reviewed, back from now.
        type: float
        default: 7
      format:
        description: V(combined) is common, too. V(auto) decides by each line.
        type: str
        choices: [auto, combined, json]
        default: auto
      fields:
        description: Names of the fields of JSON, where they are unusual - C(time), C(client), C(status), C(path).
        type: dict
        default: {}
      ipv4_bits:
        description: How many bits of an IPv4 address are kept.
        type: int
        default: 24
      ipv6_bits:
        description: How many bits of an IPv6 address are kept.
        type: int
        default: 48
      maximum_lines:
        description: How many lines are read. With more it is unknown.
        type: int
        default: 5000000
      empty_ok:
        description: Whether it may have no request at all.
        type: bool
        default: false
      request_time:
        description:
          - Where a line has the time that its request took. V(last) is the last word behind the size, as nginx's
            C(log_format) with C($request_time) at its end; another name means C(NAME=time) there, outside of quotes.
          - Of JSON, the name of the field. Empty when no line has one.
        type: str
        default: ""
      request_time_unit:
        description: Its unit. nginx and Caddy write seconds, Apache's C(%D) microseconds.
        type: str
        choices: [s, ms, us]
        default: s
      request_time_left_out:
        description: Routes whose times are not judged, as shell patterns, such as those that stream.
        type: list
        elements: str
        default: []
  rotation:
    description: Rotation of logs by logrotate. Left out, it is not looked at.
    type: dict
    suboptions:
      config:
        description: The configuration. Managed ones go into C(logrotate.d) beside it.
        type: path
        default: /etc/logrotate.conf
      state:
        description: The state file.
        type: path
        default: /var/lib/logrotate/status
      program:
        description: The program, by its name or path.
        type: str
        default: logrotate
      managed:
        description: Configurations that are put in place.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: The name of its file.
            type: str
            required: true
          paths:
            description: The logs, as patterns of absolute paths.
            type: list
            elements: str
            required: true
          frequency:
            description: How often they are rotated.
            type: str
            choices: [hourly, daily, weekly, monthly]
            default: daily
          keep:
            description: How many rotated files are kept.
            type: int
            default: 14
          maximum_size:
            description: Rotated earlier when larger, such as V(100M).
            type: str
            default: ""
          create:
            description: Mode, user and group of the new file, such as V(0640 www-data adm).
            type: str
            required: true
          su:
            description: User and group that logrotate becomes, where others than root may write to the folder.
            type: str
            default: ""
          reopen:
            description: A command that makes the program open the new file.
            type: str
            required: true
      rotated:
        description: Patterns of logs that somebody has to rotate.
        type: list
        elements: str
        default: []
  journal:
    description: The archived files of the journal. Left out, they are not looked at.
    type: dict
    suboptions:
      days:
        description: Files go whose last entry is older than that.
        type: float
        required: true
      retention_days:
        description: For how long entries have to be kept, such as for audits. Fewer O(journal.days) are refused.
        type: float
        default: 123
      folders:
        description: Where the journal is.
        type: list
        elements: path
        default: [/var/log/journal, /run/log/journal]
  package_cache:
    description: Whether archives that apt has fetched go.
    type: bool
    default: false
  kernels:
    description:
      - Whether old kernels go, as far as apt's own autoremove would remove them. Never the running one, the two newest,
        and those that the boot loader's links name.
    type: bool
    default: false
  images:
    description: Container programs whose unused images are told.
    type: list
    elements: dict
    default: []
    suboptions:
      program:
        description: V(podman) or V(docker).
        type: str
        required: true
      remove:
        description: Ids or digests of images that may go when no container uses them.
        type: list
        elements: str
        default: []
  thresholds:
    description: From which value on a check is a warning or critical. C(.inf) for no threshold.
    type: dict
    suboptions:
      unparsed:
        description: Lines of an access log that are not of its format, in percent. From the warning on it is unknown.
        type: dict
        suboptions:
          warning:
            description: Unknown from here on.
            type: float
            default: 1
          critical:
            description: Not used.
            type: float
      errors:
        description: Requests with status 5xx, in percent.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
            default: 5
      response_time_p50:
        description: Response time of a route of an access log, in ms - 50 % of its requests take no longer.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 200
          critical:
            description: Critical from here on.
            type: float
            default: 1000
      response_time_p95:
        description: Response time of a route of an access log, in ms - 95 % of its requests take no longer.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 500
          critical:
            description: Critical from here on.
            type: float
            default: 2500
      response_time_p99:
        description: Response time of a route of an access log, in ms - 99 % of its requests take no longer.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1000
          critical:
            description: Critical from here on.
            type: float
            default: 5000
  maximum:
    description: How many entries of a directory go at most.
    type: int
    default: 5000
  look_at:
    description: How many files and folders of a directory are looked at. An entry beyond stays, and is told.
    type: int
    default: 2000000
  clock:
    description:
      - What time it is for the runner, in seconds since 1970; set by the action. What goes by its age is left alone,
        and unknown, when the host's own clock differs by more than an hour.
    type: float
  planned:
    description: What RV(plan) of check mode has as C(tokens). Nothing else is removed.
    type: list
    elements: str
    default: []
  approved:
    description: Digests of plans that were approved. Any other is refused, and with V([]) each. Left out, none is.
    type: list
    elements: str
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
  - While many files are looked at or removed, the host's system log says every 10 s how far it is
    (C(journalctl -f -t ansible-tradingflow.maintenance.host_housekeeping)).
  - With O(run), what goes wrong does not fail the task but is told by the report. Without it, the task
    fails, also when a part could not be looked at.
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
  description:
    - What would go - C(classes) with the parts of each, C(tokens), C(digest); C(refused) where it was not approved.
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
    module.exit_json(**{"changed": False, **outcome(lambda: work(module.params, module.log))})


if __name__ == "__main__":
    main()
