# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # What a release, its soak and its promotion have in common.
    DOCUMENTATION = r"""
options:
  environment_name:
    description: The environment, as the inventory calls it; its records are kept apart in the store.
    type: str
    required: true
  application:
    description: Name of the application, under which the record is kept.
    type: str
    required: true
  namespace:
    description: The namespace.
    type: str
    required: true
  deployment:
    description: The Deployment.
    type: str
    required: true
  container:
    description: Its container whose image is changed.
    type: str
    required: true
  database:
    description:
      - The application's database, whose revision must be one with which the version works. Without it nobody looks.
    type: dict
    suboptions:
      host:
        description: Host name.
        type: str
        default: localhost
      port:
        description: Port.
        type: int
        default: 5432
      name:
        description: Name of the database.
        type: str
        required: true
      user:
        description: A user who may read C(alembic_version).
        type: str
        required: true
      password:
        description: Its password.
        type: str
      sslmode:
        description: As libpq takes it.
        type: str
        choices: [disable, allow, prefer, require, verify-ca, verify-full]
        default: verify-full
      sslrootcert:
        description: Certificates that are trusted.
        type: path
      connect_timeout:
        description: Seconds for a connection.
        type: int
        default: 10
      statement_timeout:
        description: Seconds for a statement.
        type: int
        default: 60
  port:
    description: Port of the pods on which they are asked.
    type: int
    default: 3000
  deadline:
    description: Seconds after which a rollout that has neither succeeded nor failed is unknown.
    type: int
    default: 900
  ready_slack:
    description:
      - Seconds that a pod may take to become ready beyond what its probes allow, or beyond three times what the slowest
        pod of before took. With V(0) only the Deployment's progress deadline counts.
    type: int
    default: 15
  steady:
    description: Seconds for which all must stay well until the rollout counts as complete.
    type: float
    default: 3.0
  interval:
    description: Seconds between two looks.
    type: float
    default: 1.0
  undo_on_failure:
    description: Whether a release that has failed is undone at once.
    type: bool
    default: true
"""

    # What rolls out.
    ROLLOUT = r"""
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
