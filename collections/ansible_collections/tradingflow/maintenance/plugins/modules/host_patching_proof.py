#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_patching_proof
short_description: Prove that a patched host is as planned, and start what was halted on it
version_added: "0.1.0"
description:
  - Compares the host with what M(tradingflow.maintenance.host_patching) kept on it before anything was done - versions,
    services that ran and start by themselves, systemd's state, failed units, the kernel, and its clock.
  - With O(rebooted), proves that the host was restarted - another boot, or in a container another first process.
  - When all of that is as planned, units that were halted are started again, and must stay up. Otherwise they stay
    halted, also when the host restarts.
  - Run it over a new connection (the meta task C(reset_connection) before), so that it proves that sshd answers one.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - Debian or a derivative with systemd, python3-apt, and root
options:
  rebooted:
    description: Whether the host was to be restarted.
    type: bool
    default: false
  resume:
    description: Whether what was halted is started again once the host is proven.
    type: bool
    default: true
  close:
    description:
      - Whether the patching is over once the host is proven. Otherwise it counts as begun until the module is run again
        with this, such as once the host is back in traffic.
    type: bool
    default: true
  needrestart:
    description: Whether needrestart is asked after a restart of the host.
    type: bool
    default: true
  clock_tolerance:
    description: Seconds by which the host's clock may differ from the runner's.
    type: int
    default: 60
  health:
    description:
      - Measures the host's health and compares it with that before it was patched. What became critical or unknown is
        critical, and then nothing is started again; what was so before is a warning.
      - C(thresholds) and C(mounts) as M(tradingflow.maintenance.host_checks) has them. Without it, nothing is measured.
    type: dict
  health_wait:
    description: Seconds for which health that is worse than before is measured again.
    type: int
    default: 120
  way_back:
    description: Whether this is after going back from patches of the same run, which have a proof of their own.
    type: bool
    default: false
  state_directory:
    description: Where the host keeps what it was before it was patched.
    type: path
    default: /var/lib/tradingflow-maintenance
extends_documentation_fragment:
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Proves, and starts nothing.
    support: full
  diff_mode:
    description: Nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Make a new connection next
  ansible.builtin.meta: reset_connection

- name: Prove the host
  tradingflow.maintenance.host_patching_proof:
    rebooted: true
"""

RETURN = r"""
proven:
  description: Whether the host is as planned, and what was halted runs again.
  returned: always
  type: bool
proof:
  description: What the ledger keeps of it.
  returned: always
  type: dict
platform:
  description: The platform before, as the host keeps it.
  returned: when the host answers
  type: dict
at:
  description: When it was proven, in seconds since 1970 by the runner's clock.
  returned: when the host answers
  type: float
checks:
  description: What the report shows, as contract 1.
  returned: always
  type: list
  elements: dict
actions:
  description: What was done.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import proof
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.options import PROOF

from ..module_utils._patching.solver import apt
from ..module_utils._work.job import outcome
from ..module_utils.errors import MaintenanceError


def main() -> None:
    module = AnsibleModule({**PROOF, "run": {"type": "dict"}}, supports_check_mode=True)
    try:
        apt()
    except MaintenanceError:
        # The module apt_pkg is built for Debian's own Python, and this one may be another.
        other = None if has_respawned() else probe_interpreters_for_module(["/usr/bin/python3"], "apt_pkg")
        if other:
            respawn_module(other)
    options = {**module.params, "resume": module.params["resume"] and not module.check_mode}
    module.exit_json(**{"changed": False, **outcome(lambda: proof.prove(options))})


if __name__ == "__main__":
    main()
