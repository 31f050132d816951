#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Roll a version out in Kubernetes, follow it to its end, and undo it when it is not good
version_added: "0.1.0"
description:
  - Resolves the version's tag to a digest, looks whether the release can go well, writes the image on the condition
    that the Deployment is still the one that was looked at, and follows the rollout by what its controller, its
    ReplicaSets and its pods say. Then each pod is asked whether it is healthy, and which version it is.
  - A rollout has failed as soon as a new pod cannot start, a quota or the nodes have no room for it, or it is not ready
    within the time that its probes allow; the progress deadline is not waited for. It is then undone, back to the whole
    of what ran before, with its configuration, and the ReplicaSet of the bad version is removed.
  - What is not recognised is never good. It is named, and followed until O(deadline); then the result is unknown.
  - What others change meanwhile is told of and not overwritten.
  - A record in the store has all of it, so that whoever runs it again after a kill goes on, or undoes.
  - Runs on the controller, whatever the host. Use it with C(run_once).
  - Needs the Python libraries C(kubernetes), C(boto3) and, with O(database), C(psycopg2) on the controller.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  action:
    description: V(release) rolls O(version) out. V(undo) goes back to what ran before the last release.
    type: str
    choices: [release, undo]
    default: release
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
  image:
    description: The image's repository as pods name it, without tag. By default that of the image that runs.
    type: str
  version:
    description: The tag to release, such as V(v1.2.1). What counts from then on is the digest that it names now.
    type: str
    default: ""
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
  schemas:
    description: Revisions of the schema with which the version works. By default its label O(schemas_label) says.
    type: list
    elements: str
    default: []
  schemas_label:
    description: Label of images with the revisions with which they work, apart by commas.
    type: str
    default: org.tradingflow.schemas
  port:
    description: Port of the pods on which they are asked.
    type: int
    default: 3000
  health_path:
    description: Where a pod says that it is healthy, by its status. Empty for nobody is asked.
    type: str
    default: /health
  version_path:
    description: Where a pod says C(version), in JSON. Empty for nobody is asked.
    type: str
    default: /version
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
extends_documentation_fragment:
  - tradingflow.maintenance.kubernetes
  - tradingflow.maintenance.release_analysis
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Says what would be done, from which digest to which, and what forbids it.
    support: full
  diff_mode:
    description: Shows the pod template before and after.
    support: full
notes:
  - With O(run), a failed release does not fail the task but is critical in the report, which ends the run. Without it,
    the task fails.
"""

EXAMPLES = r"""
- name: Release a version to staging
  tradingflow.maintenance.release:
    environment_name: staging
    storage: "{{ tradingflow_storage }}"
    kubernetes:
      context: staging
    application: tradingflow
    namespace: staging
    deployment: tradingflow-app
    container: tradingflow-app
    version: v1.2.1
    database: "{{ tradingflow_database }}"

- name: Go back to what ran before
  tradingflow.maintenance.release:
    action: undo
    environment_name: staging
    storage: "{{ tradingflow_storage }}"
    application: tradingflow
    namespace: staging
    deployment: tradingflow-app
    container: tradingflow-app
"""

RETURN = r"""
checks:
  description: The checks, as contract 1 (docs/checks.md).
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: always
  type: str
  sample: ok
release:
  description:
    - What the ledger keeps, the C(release) and C(digest), the C(seconds) until its end, and C(noticed), after how many
      seconds it was first seen to fail.
  returned: always
  type: dict
wanted:
  description: Whether there is anything to do that nothing forbids.
  returned: always
  type: bool
released:
  description: Whether it was done, and proven.
  returned: always
  type: bool
"""
