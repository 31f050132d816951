#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_patching
short_description: Patch a Debian host by exact versions that were planned
version_added: "0.1.0"
description:
  - In check mode, plans by apt's own solver on the host, with package lists of its own, so that nothing on the host
    changes. Says of each package from which version to which, why it is taken or kept, and gives a digest of it all.
  - Otherwise plans again, and only when that gives O(expected_digest) puts exactly these versions in place by apt-get.
    Nothing is removed or downgraded, held packages stay, recommended ones are not added.
  - Configuration files that were changed on the host stay as they are, or are replaced (O(conffiles)).
  - Before, stops the units of O(units) in such a way that nobody can start them, not even a restart of the host, until
    M(tradingflow.maintenance.host_patching_proof) has proven the host. What was before is kept in O(state_directory).
  - While packages are put in place, none restarts anything (C(/usr/sbin/policy-rc.d), needrestart suspended). After the
    last one, those services that needrestart names and O(restart) allows are restarted, once each.
  - Compares all packages before and after by dpkg's own notes.
  - Can be run again at any time, also after C(kill -9); what dpkg left half done is ended first, and the plan says so.
  - Does not restart the host itself; says whether it is to be restarted (RV(reboot)).
  - With O(rollback), goes back to exactly the versions of before the last patching. Nothing is removed for it; where
    that would be needed, the plan says so and it is refused.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - Debian or a derivative, python3-apt, and root
  - needrestart, unless O(needrestart) is false
options:
  scope:
    description: Only V(security) updates, with what these depend on, or V(all) that the host's preferences choose.
    type: str
    choices: [security, all]
    default: security
  security_origins:
    description:
      - Whose versions are security updates. One of these must match a list of packages, in all that it names; shell
        patterns are allowed.
    type: list
    elements: dict
    default:
      - {origin: Debian, label: Debian-Security}
      - {origin: Ubuntu, archive: "*-security"}
    suboptions:
      origin:
        description: The list's Origin.
        type: str
      label:
        description: The list's Label.
        type: str
      archive:
        description: The list's Suite, such as C(stable-security).
        type: str
      codename:
        description: The list's Codename, such as C(bookworm-security).
        type: str
  packages:
    description: Only these packages, with what they depend on. Empty for all.
    type: list
    elements: str
    default: []
  approved:
    description: Digests of plans that were approved. A host with another plan is refused. Empty for any plan.
    type: list
    elements: str
    default: []
  expected_digest:
    description: The digest that the plan gave. With another one, nothing is done. Required outside check mode.
    type: str
  restart:
    description:
      - Units that may be restarted when needrestart names them, as shell patterns such as C(cron.service). Others are
        only reported. A pattern that matches every service is refused.
    type: list
    elements: str
    default: []
  needrestart:
    description: Whether needrestart is asked. When it is not installed, the check is unknown.
    type: bool
    default: true
  minimum_free:
    description: Bytes that must stay free on C(/) and C(/var).
    type: int
    default: 536870912
  minimum_free_boot:
    description: Bytes that must stay free on C(/boot) where it is a file system of its own.
    type: int
    default: 104857600
  clock_tolerance:
    description: Seconds by which the host's clock may differ from the runner's. Beyond that, it is refused.
    type: int
    default: 60
  conffiles:
    description: What becomes of configuration files that were changed on the host, where a package ships others.
    type: str
    choices: [keep, replace]
    default: keep
  units:
    description: Units that are halted before anything is done, by their whole names. Each must be on the host.
    type: list
    elements: str
    default: []
  reboot:
    description:
      - Whether the host is to be restarted afterwards, when it asks for that or runs an older kernel
        (V(when_needed)), or whenever anything was done.
    type: str
    choices: [never, when_needed, always]
    default: never
  rollback:
    description: Goes back instead, to the versions of before the last patching.
    type: bool
    default: false
  health:
    description:
      - Measures the host's health before anything is done, for M(tradingflow.maintenance.host_patching_proof) to
        compare with.
      - C(thresholds) and C(mounts) as M(tradingflow.maintenance.host_checks) has them. Without it, nothing is measured.
    type: dict
  platform:
    description:
      - The platform before anything is done, which the host keeps for M(tradingflow.maintenance.patching_health) to
        compare with - C(run), the id of O(run); C(began), in seconds since 1970 by the runner's clock; C(checks). What
        is not of this run and of before is refused.
    type: dict
  state_directory:
    description: Where the host keeps what it was before it was patched.
    type: path
    default: /var/lib/tradingflow-maintenance
  scratch_directory:
    description: Where a private folder is made for package lists and downloads.
    type: path
    default: /var/tmp
extends_documentation_fragment:
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Plans, and changes nothing.
    support: full
  diff_mode:
    description: The plan has the versions.
    support: none
notes:
  - With O(run), a host that could not be patched does not fail the task but is critical in the report, which ends the
    run. Without it, the task fails.
  - Proxies belong in apt's configuration; the environment of the task is not handed on.
"""

EXAMPLES = r"""
- name: Plan the security updates
  tradingflow.maintenance.host_patching:
    scope: security
  check_mode: true
  register: plan

- name: Put them in place
  tradingflow.maintenance.host_patching:
    expected_digest: "{{ plan.plan.digest }}"
    restart: [cron.service]
"""

RETURN = r"""
patching:
  description: What the ledger keeps.
  returned: when it was begun or refused, not in check mode
  type: dict
  contains:
    state:
      description: V(ended).
      type: str
    digest:
      description: SHA-256 of what was planned.
      type: str
    changed:
      description: Whether anything may have been changed. Null when another run began and did not end.
      type: bool
    worst_status:
      description: The worst status of its checks.
      type: str
    before:
      description: Version and state of the planned packages before.
      type: dict
    after:
      description: The same afterwards.
      type: dict
    seconds:
      description: How long it took, in s.
      type: float
patched:
  description: Whether the host is as planned; that there was nothing to do is well.
  returned: not in check mode
  type: bool
reboot:
  description: Whether the host is to be restarted now.
  returned: not in check mode
  type: bool
intent:
  description: What the ledger keeps of a host that is about to be patched.
  returned: in check mode
  type: dict
plan:
  description: What would be done - C(packages), C(kept), C(digest), C(refusals), C(back) and more.
  returned: in check mode
  type: dict
state:
  description:
    - What the rollout has to know - C(host), C(planned) (nothing forbids it), C(wanted) (there is something to do).
  returned: in check mode, when there is a plan
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
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.options import SPEC

from ..module_utils._patching.solver import apt
from ..module_utils._work.job import outcome
from ..module_utils.errors import MaintenanceError


def main() -> None:
    module = AnsibleModule({**SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    try:
        apt()
    except MaintenanceError:
        # The module apt_pkg is built for Debian's own Python, and this one may be another.
        other = None if has_respawned() else probe_interpreters_for_module(["/usr/bin/python3"], "apt_pkg")
        if other:
            respawn_module(other)
    work = engine.plan if module.check_mode else engine.run
    module.exit_json(**{"changed": False, **outcome(lambda: work(module.params))})


if __name__ == "__main__":
    main()
