# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What rolls out: a release, and a promotion.
    DOCUMENTATION = r"""
options:
  expected_version:
    description: What each pod must say of its version. By default O(version), with or without the V(v).
    type: str
  registry:
    description: How the controller reads the registry.
    type: dict
    suboptions:
      address:
        description: Host and port where the controller reaches it, when pods reach it elsewhere.
        type: str
      auth_file:
        description: Logins, as C(podman login --authfile) writes them.
        type: path
      ca_file:
        description: Certificates that are trusted.
        type: path
      plain_http:
        description: Registries that are spoken to without TLS; those on loopback always are.
        type: list
        elements: str
        default: []
      platform:
        description: Of an index, the platform whose labels are read.
        type: str
        default: linux/amd64
      timeout:
        description: Seconds that one answer may take.
        type: int
        default: 30
  schemas:
    description: Revisions of the schema with which the version works. By default its label O(schemas_label) says.
    type: list
    elements: str
    default: []
  schemas_label:
    description: Label of images with the revisions with which they work, apart by commas.
    type: str
    default: org.tradingflow.schemas
  health_path:
    description: Where a pod says that it is healthy, by its status. Empty for nobody is asked.
    type: str
    default: /health
  version_path:
    description: Where a pod says C(version), in JSON. Empty for nobody is asked.
    type: str
    default: /version
  overrides:
    description: Names of what was found before the release, or before an undo, and is passed by; goes with O(reason).
    type: list
    elements: str
    choices: [rollout, strategy, probes, drain, quota, disruption, schema, metrics, drift, configuration]
    default: []
  reason:
    description: Why, for the record.
    type: str
    default: ""
"""
