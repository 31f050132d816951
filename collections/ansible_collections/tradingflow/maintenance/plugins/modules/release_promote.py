#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_promote
short_description: Release to one namespace exactly what has soaked in another
version_added: "0.1.0"
description:
  - Asks whether the soak in O(from_namespace) allows it, by its record and by what runs there now. Each reason that
    forbids it is a check, and then nothing is done.
  - What is released is the digest that has soaked, whatever its tag names by now, as
    M(tradingflow.maintenance.release) does it, looked at first, followed, proven, and undone when it is not good.
  - Then the record of the soak says that it is promoted. Run again after a kill it goes on; once done it does nothing.
  - It asks no gate; ask M(tradingflow.maintenance.maintenance_window) before.
  - Runs on the controller, whatever the host. Use it with C(run_once).
  - Needs the Python libraries C(kubernetes), C(boto3) and, with O(database), C(psycopg2) on the controller.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  version:
    description: The tag that is expected to have soaked. With another one nothing is done; empty for whatever has.
    type: str
    default: ""
  from_namespace:
    description: Where it soaks.
    type: str
    required: true
  from_deployment:
    description: Its Deployment there. By default O(deployment).
    type: str
  from_environment_name:
    description: The environment in which the soak is recorded. By default O(environment_name).
    type: str
  from_kubernetes:
    description: The cluster in which it soaks, when that is another.
    type: dict
    default: {}
    suboptions:
      kubeconfig:
        description: The file that leads to it, on the controller. By default C(KUBECONFIG) or that of the user's home.
        type: path
      context:
        description: Which of its contexts; by default the current one.
        type: str
      timeout:
        description: Seconds that one request may take.
        type: float
        default: 10.0
  from_storage:
    description: The store in which the soak is recorded. By default O(storage). Needs to be written to, too.
    type: dict
    suboptions:
      bucket:
        description: The bucket.
        type: str
        required: true
      prefix:
        description: Put before every key.
        type: str
        default: ""
      endpoint:
        description: URL of a store other than AWS's.
        type: str
      region:
        description: The region.
        type: str
        default: us-east-1
      access_key:
        description: Access key. Without it the SDK's own chain is used (role, profile, environment).
        type: str
      secret_key:
        description: Secret key.
        type: str
      session_token:
        description: Session token of temporary credentials.
        type: str
      ca_file:
        description: File of the CA that signed the store's certificate.
        type: path
      addressing_style:
        description: How the bucket is named in the URL.
        type: str
        default: auto
        choices: [auto, path, virtual]
      connect_timeout:
        description: Seconds to wait for a connection.
        type: int
        default: 5
      read_timeout:
        description: Seconds to wait for an answer.
        type: int
        default: 60
      retry_seconds:
        description:
          - How long a request is tried again while the store is overloaded, restarting or out of reach.
          - Where it has not answered yet, and nothing would be lost, 10 s at the most.
        type: int
        default: 120
      max_attempts:
        description: How often a request is tried in all at most, V(0) for as often as O(storage.retry_seconds) allows.
        type: int
        default: 0
  hours:
    description: Hours that it must have soaked, where that is more than its record asks for.
    type: float
    default: 0
  requests:
    description: Requests, likewise.
    type: int
    default: 0
  market_minutes:
    description: Minutes of an open market, likewise.
    type: float
    default: 0
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
  - With O(run), a promotion that fails does not fail the task but is critical in the report, which ends the run.
    Without it, the task fails.
"""

EXAMPLES = r"""
- name: Promote what has soaked in staging
  tradingflow.maintenance.release_promote:
    environment_name: production
    storage: "{{ tradingflow_storage }}"
    application: tradingflow
    from_environment_name: staging
    from_namespace: staging
    from_kubernetes:
      context: staging
    kubernetes:
      context: production
    namespace: production
    deployment: tradingflow-app
    container: tradingflow-app
    database: "{{ tradingflow_database }}"
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
    - What the ledger keeps, the C(release) and C(digest), the C(promoted) release that has soaked, the C(seconds) until
      its end, and C(noticed), after how many seconds it was first seen to fail.
  returned: when the record could be read
  type: dict
wanted:
  description: Whether there is anything to do that nothing forbids.
  returned: when the record could be read
  type: bool
released:
  description: Whether it was done, and proven.
  returned: when the record could be read
  type: bool
reasons:
  description: What forbids it.
  returned: when the record could be read
  type: list
  elements: str
"""
