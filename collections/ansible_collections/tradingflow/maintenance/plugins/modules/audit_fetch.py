#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_fetch
short_description: Fetch what was collected on a host for an audit
version_added: "0.1.0"
description:
  - Brings the files that M(tradingflow.maintenance.audit_sources) collected to the controller, and compares each with
    its size and SHA-256. What is there already is not fetched again.
  - Fetches as the user of the connection, also where the task becomes another one. Files are streamed.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  src:
    description: The folder on the host.
    type: path
    required: true
  collected:
    description: What M(tradingflow.maintenance.audit_sources) returned as C(collected).
    type: dict
    required: true
  dest:
    description: Folder on the controller. C(collected.json) is written there last.
    type: path
    required: true
  limit:
    description: Bytes that are accepted. V(0) for no limit.
    type: int
    default: 0
  plan:
    description:
      - Digest of the options by which it was collected, for O(tradingflow.maintenance.audit_bundle#module:plans).
      - A source that an earlier run found complete by the same options stays where it is not complete now.
    type: str
    default: ""
attributes:
  check_mode:
    description: Fetches nothing.
    support: full
  diff_mode:
    description: Files are only added.
    support: none
seealso:
  - module: tradingflow.maintenance.audit_sources
  - module: tradingflow.maintenance.audit_bundle
"""

EXAMPLES = r"""
- name: Bring it to the controller
  tradingflow.maintenance.audit_fetch:
    src: "{{ collected.staging }}"
    collected: "{{ collected.collected }}"
    dest: "artifacts/audit-bundles/production/.staging/{{ inventory_hostname }}"
"""

RETURN = r"""
fetched:
  description: How many files were fetched.
  returned: not in check mode
  type: int
"""
