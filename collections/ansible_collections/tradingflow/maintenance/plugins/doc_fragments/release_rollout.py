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
  kind:
    description:
      - V(major) begins only with a recovery point that is recent, whole by its checksums, and proven by a restore that
        the ledger records. Nothing passes that by.
      - A release that was V(major) where it soaked is promoted as one.
    type: str
    choices: [minor, major]
    default: minor
  recovery_point_age:
    description: Seconds that the newest recovery point may be old when a major update begins.
    type: int
    default: 3600
  recovery_point_proven_days:
    description: >-
      V(0) when a drill must have restored that very recovery point. Else the days in which the newest drill of one of
      its engine must have gone well.
    type: int
    default: 0
  flags:
    description:
      - Feature flags, each with the value that every pod must go by, as it says itself at O(flags_path).
      - Another value, or one that nobody decided (OpenFeature's reason C(ERROR)), is a failed release. A reason that is
        not known to be good, or a pod that does not say, is unknown.
    type: dict
    default: {}
  flags_path:
    description: >-
      Where a pod says C({"flags": {"<name>": {"value": ..., "reason": ...}}}), by the words of OpenFeature.
    type: str
    default: /flags
  tests:
    description:
      - The platform's own tests, run one after the other as Jobs once the pods are healthy. Their log must have JUnit's
        XML or TAP; what has neither, or tested nothing, is unknown. A test that fails is a failed release.
      - They find C(RELEASE_ID), C(RELEASE_VERSION), C(RELEASE_DIGEST) and C(RELEASE_FLAGS) in their environment.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: At most 30 small letters, digits and hyphens.
        type: str
        required: true
      command:
        description: What is run, such as C([npm, run, "test:e2e"]). V($(NAME\)) is the value of a variable.
        type: list
        elements: str
        required: true
      image:
        description: >-
          An image of their own. By default the one that is released, configured as the application is; another one gets
          nothing of that configuration.
        type: str
      env:
        description: More variables of their environment. No secrets, as whoever may read Jobs can read them.
        type: dict
        default: {}
      deadline:
        description: Seconds that they may take.
        type: int
        default: 600
  strategy:
    description:
      - How the version comes. V(rolling) replaces pod by pod.
      - V(gradual) makes a second Deployment beside that of before, behind the same Service, with a larger share in each
        of O(steps). M(tradingflow.maintenance.release_soak) goes from one to the next.
      - V(blue_green) makes a second Deployment with all pods, and switches the Service to it. That of before is kept,
        so that it can be switched back at once, until it is retired.
    type: str
    choices: [rolling, gradual, blue_green]
    default: rolling
  steps:
    description:
      - With O(strategy=gradual), the shares, each larger than the one before. After the last all pods get the version.
    type: list
    elements: dict
    default:
      - {share: 10.0, minutes: 10.0}
      - {share: 25.0, minutes: 10.0}
      - {share: 50.0, minutes: 30.0}
    suboptions:
      share:
        description:
          - Percent of all pods, at least; at most V(50), as the version of before keeps all of its pods.
        type: float
        required: true
      minutes:
        description: Healthy minutes until the next one.
        type: float
        required: true
  service:
    description: The Service that sends requests to the pods. By default it has the name of the Deployment.
    type: str
  manifest:
    description:
      - Template (Jinja) of the second Deployment, which O(strategy=gradual) and O(strategy=blue_green) need.
    type: path
  retire_after:
    description: Minutes for which the version of before is kept after O(strategy=blue_green) has switched.
    type: float
    default: 60.0
  overrides:
    description: Names of what was found before the release, or before an undo, and is passed by; goes with O(reason).
    type: list
    elements: str
    choices:
      - rollout
      - strategy
      - probes
      - drain
      - quota
      - disruption
      - schema
      - metrics
      - drift
      - configuration
      - values
      - autoscaler
    default: []
  reason:
    description: Why, for the record.
    type: str
    default: ""
"""
