#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_checks
short_description: Check the health of a managed host
version_added: "0.1.0"
description:
  - Measures disks, memory, swap, processors, pressure, processes, failed units, uptime and clock of a host
    (docs/checks.md).
  - Reads C(/proc), C(statvfs) and what systemd says, needs no rights beyond reading them and changes nothing.
  - What cannot be measured is unknown. The task never fails because of what it finds.
  - A host that cannot be reached is put into the run's folder as unknown, and is unreachable to Ansible as ever.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  thresholds:
    description:
      - From which value on a check is a warning or critical. What is left out keeps its default.
      - C(.inf) means that there is no such threshold.
    type: dict
    suboptions:
      disk_space:
        description: Space used on a mount, in percent of what users other than root can have.
        type: dict
        suboptions: &limits_85_95
          warning:
            description: Warning from here on.
            type: float
            default: 85
          critical:
            description: Critical from here on.
            type: float
            default: 95
      inodes:
        description: Inodes used on a mount, in percent.
        type: dict
        suboptions: *limits_85_95
      memory_available:
        description: Memory available, in percent of the whole; bad downwards.
        type: dict
        suboptions:
          warning:
            description: Warning from here downwards.
            type: float
            default: 10
          critical:
            description: Critical from here downwards.
            type: float
            default: 5
      swap_used:
        description: Swap used, in percent.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 50
          critical:
            description: Critical from here on.
            type: float
            default: 90
      load:
        description: Load average of 5 minutes per core.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 4
          critical:
            description: Critical from here on.
            type: float
            default: 8
      cpu_used:
        description: Processor time used over a short while, in percent. Without thresholds it is only reported.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
      cpu_steal:
        description: Processor time that went to other machines of the hypervisor, in percent.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 50
          critical:
            description: Critical from here on.
            type: float
            default: 80
      cpu_pressure:
        description: Share of the last 5 minutes in which something waited for a processor, in percent.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 90
          critical:
            description: Critical from here on.
            type: float
            default: 98
      memory_pressure:
        description: Share of the last 5 minutes in which something waited for memory, in percent.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 10
          critical:
            description: Critical from here on.
            type: float
            default: 40
      io_pressure:
        description: Share of the last 5 minutes in which something waited for a disk, in percent.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 60
          critical:
            description: Critical from here on.
            type: float
            default: 90
      zombies:
        description: Number of processes that ended and that nobody collects.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 20
          critical:
            description: Critical from here on.
            type: float
            default: 200
      oom_kills:
        description: Processes killed for lack of memory since the host was started. Without thresholds only reported.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
      failed_units:
        description: Number of units of systemd that failed.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      reboot_needed:
        description: Number of reasons to restart the host.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      read_only_mounts:
        description: Number of mounts that are read-only though neither fstab nor O(mounts) says so.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      uptime:
        description: Seconds since the host was started; bad downwards. Without thresholds it is only reported.
        type: dict
        suboptions:
          warning:
            description: Warning from here downwards.
            type: float
          critical:
            description: Critical from here downwards.
            type: float
      clock_skew:
        description: Seconds between the host's clock and the runner's.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 2
          critical:
            description: Critical from here on.
            type: float
            default: 10
  mounts:
    description:
      - Mounts with rules of their own.
      - A mount named here is always checked, whatever its kind, and is unknown when missing.
      - Others are checked unless they are pseudo file systems, loop devices, bind mounts or read-only by nature.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it is mounted.
        type: str
        required: true
      disk_space:
        description: As in O(thresholds), for this mount.
        type: dict
        suboptions: &limits
          warning:
            description: Warning from here on, instead of the general threshold.
            type: float
          critical:
            description: Critical from here on, instead of the general threshold.
            type: float
      inodes:
        description: As in O(thresholds), for this mount.
        type: dict
        suboptions: *limits
      read_only:
        description: Whether it is meant to be read-only.
        type: bool
        default: false
      ignore:
        description: Whether to leave it out.
        type: bool
        default: false
extends_documentation_fragment:
  - tradingflow.maintenance.run
"""

EXAMPLES = r"""
- name: Check the health of the host
  tradingflow.maintenance.host_checks:
    run: "{{ maintenance_run }}"
    thresholds:
      disk_space: {warning: 70}
    mounts:
      - path: /var/lib/postgresql
        disk_space: {warning: 60, critical: 75}
      - path: /srv/archive
        ignore: true
"""

RETURN = r"""
checks:
  description: The checks, as contract 1.
  returned: always
  type: list
  elements: dict
  sample:
    - id: system.disk_space:/
      title: Disk space of /
      status: ok
      value: 41.3
      unit: "%"
      warning: 85
      critical: 95
      message: / is 41.3 % full, 24.1 GB are free.
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: always
  type: str
  sample: ok
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._checks.clock import kernel
from ..module_utils._checks.system import SYSTEM_SPEC, measure
from ..module_utils.checks import as_dicts, worst
from ..module_utils.errors import MaintenanceError


def main() -> None:
    began = time.time()
    module = AnsibleModule(argument_spec={**SYSTEM_SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    try:
        checks = measure(module.params)
    except MaintenanceError as error:
        module.fail_json(msg=str(error))
    result = as_dicts(checks)
    module.exit_json(
        changed=False,
        checks=result,
        worst_status=worst(check["status"] for check in result),
        clock_began=began,
        clock_kernel=kernel(),
        clock=time.time(),
    )


if __name__ == "__main__":
    main()
