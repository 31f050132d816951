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
    description:
      - V(release) brings O(version). V(undo) goes back to what ran before the last release.
      - V(switch_back) does so at once where a second colour has all requests, and is refused where that cannot be.
        V(retire) ends such a release, O(retire_after) it, as the Deployment itself gets the version.
    type: str
    choices: [release, undo, switch_back, retire]
    default: release
  image:
    description: The image's repository as pods name it, without tag. By default that of the image that runs.
    type: str
  version:
    description: The tag to release, such as V(v1.2.1). What counts from then on is the digest that it names now.
    type: str
    default: ""
  digest:
    description: The image's digest, when it is not to be what O(version) names now.
    type: str
  promoted_from:
    description: The release whose soak allows this one, for the record.
    type: str
  evidence:
    description: The keys of the ledger in which drills are looked up, for O(kind=major).
    type: dict
extends_documentation_fragment:
  - tradingflow.maintenance.release
  - tradingflow.maintenance.release_rollout
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.kubernetes
  - tradingflow.maintenance.release_helm
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
- name: Release a version with feature flags by its Helm chart
  tradingflow.maintenance.release:
    environment_name: staging
    storage: "{{ tradingflow_storage }}"
    application: tradingflow
    namespace: staging
    deployment: tradingflow-app
    container: tradingflow-app
    version: v1.3.0
    helm:
      chart: /srv/tradingflow/helm
      values:
        replicas: 3
    flags:
      newFeature: true

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

- name: Release a major version, with something to go back to, a feature flag, and the platform's own tests
  tradingflow.maintenance.release:
    environment_name: staging
    storage: "{{ tradingflow_storage }}"
    evidence: "{{ tradingflow_evidence }}"
    application: tradingflow
    namespace: staging
    deployment: tradingflow-app
    container: tradingflow-app
    version: v2.0.0
    database: "{{ tradingflow_database }}"
    kind: major
    flags:
      newFeature: true
    tests:
      - name: e2e
        command: [npm, run, "test:e2e"]

- name: Bring a version to production by its share
  tradingflow.maintenance.release:
    environment_name: production
    storage: "{{ tradingflow_storage }}"
    application: tradingflow
    namespace: production
    deployment: tradingflow-app
    container: tradingflow-app
    version: v1.2.1
    strategy: gradual
    manifest: production-rollout.yaml.j2
    steps:
      - {share: 10, minutes: 10}
      - {share: 50, minutes: 30}

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
fresh:
  description: Whether it begins now; what goes on with one that was begun has its recovery point.
  returned: always
  type: bool
released:
  description: Whether it was done, and proven.
  returned: always
  type: bool
"""
