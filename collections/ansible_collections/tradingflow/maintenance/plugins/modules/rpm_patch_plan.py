#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rpm_patch_plan
short_description: Plan the patches of a host with RPM
version_added: "0.1.0"
description:
  - Plans by dnf's own solver on the host, with metadata of its own, so that nothing on the host changes. Says of each
    package from which version to which and by which advisory, what stays and why, and gives a digest of it all.
  - It only plans. To put it in place is left to dnf and whoever is on duty; on Debian,
    M(tradingflow.maintenance.host_patching) does it.
  - Security updates are those that an advisory (updateinfo) says are; a host none of whose repositories has any is
    unknown, and so is one with a repository that does not answer, or with something newer in one without advisories.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - dnf 4 with its Python library, and root
options:
  scope:
    description: Only V(security) updates, with what these depend on, or V(all).
    type: str
    choices: [security, all]
    default: security
  packages:
    description: Only these packages, with what they depend on; each must be installed. Empty for all.
    type: list
    elements: str
    default: []
  approved:
    description: Digests of plans that were approved. A host with another plan is refused. Empty for any plan.
    type: list
    elements: str
    default: []
  installroot:
    description: Another root than the host's own, such as a mounted image.
    type: path
    default: /
  scratch_directory:
    description: Where a private folder is made for metadata.
    type: path
    default: /var/tmp
extends_documentation_fragment:
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: The plan has the versions.
    support: none
"""

EXAMPLES = r"""
- name: Plan the security updates of a host with RPM
  tradingflow.maintenance.rpm_patch_plan:
    scope: security
  register: plan
"""

RETURN = r"""
plan:
  description: What would be done - C(packages), C(kept), C(digest), C(refusals) and more.
  returned: when a plan could be made
  type: dict
checks:
  description: What the report shows, as contract 1.
  returned: always
  type: list
  elements: dict
actions:
  description: What would be done.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import rpm

from ..module_utils._work.job import outcome


def main() -> None:
    module = AnsibleModule({**rpm.SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    if not rpm.available() and not has_respawned():
        # The library dnf is built for the system's own Python, and this one may be another.
        other = probe_interpreters_for_module(["/usr/libexec/platform-python", "/usr/bin/python3"], "dnf")
        if other:
            respawn_module(other)
    module.exit_json(**{"changed": False, **outcome(lambda: rpm.plan(module.params))})


if __name__ == "__main__":
    main()
