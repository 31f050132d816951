#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_soak
short_description: Count one more interval of a release's soak, and undo the release when it has failed
version_added: "0.1.0"
description:
  - One short tick, to be run by cron or a schedule. It reads the release's record, looks at the Deployment, at the
    metrics and at the log of each of its pods, judges what came since the last tick against the version of before, and
    writes what it came to into the record.
  - A soak is one continuous stay of one digest. A changed pod template, ConfigMap, Secret or number of replicas, and
    pods that were replaced, begin it anew.
  - Only an interval that was looked at, and found healthy by every measure, counts. Without data, with too little
    traffic, with pods that are not ready or with new kinds of errors it holds, for as long as it takes.
  - A gap of more than O(max_gap) between two ticks, and a clock that differs from the store's, count nothing.
  - A measure that fails makes the release failed, and it is undone at once. What has failed never soaks again.
  - A release that comes in stages is compared with the version of before as it is at the same time, and goes to its
    next step when this one was healthy for its time; after the last the Deployment itself gets the version.
  - With nothing that soaks it does nothing.
  - Runs on the controller, whatever the host. Use it with C(run_once).
  - Needs the Python libraries C(kubernetes), C(boto3) and, with O(database), C(psycopg2) on the controller.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  hours:
    description:
      - Hours to soak. A soak that has begun keeps the larger of what it began with and of what it is given, as for
        O(requests) and O(market_minutes).
    type: float
    default: 24.0
  requests:
    description: Requests that it must have answered meanwhile, those of probes left out.
    type: int
    default: 0
  market_minutes:
    description: Minutes of it in which a market was open. Needs O(market_calendars).
    type: float
    default: 0.0
  market_calendars:
    description: Calendars of which one must be open, as M(tradingflow.maintenance.maintenance_window) names them.
    type: list
    elements: str
    default: []
  calendars:
    description: The operator's own calendars, as in M(tradingflow.maintenance.trading_checks).
    type: dict
    default: {}
  max_gap:
    description:
      - Seconds between two ticks beyond which nobody was looking. Also how old the last tick may be for a promotion.
    type: float
    default: 900.0
  advance:
    description:
      - What becomes of the next step of a release that comes in stages, when this one was healthy for its time.
      - V(take) takes it. V(wait) leaves it to V(only), which takes what a tick has found to be due within O(max_gap),
        and looks at nothing else; so that gates can be asked in between.
    type: str
    choices: [take, wait, only]
    default: take
extends_documentation_fragment:
  - tradingflow.maintenance.release
  - tradingflow.maintenance.kubernetes
  - tradingflow.maintenance.release_helm
  - tradingflow.maintenance.release_analysis
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Says what the tick would come to; writes and undoes nothing.
    support: full
  diff_mode:
    description: Shows nothing.
    support: none
notes:
  - With O(run), a failed release does not fail the task but is critical in the report, which ends the run. Without it,
    the task fails.
"""

EXAMPLES = r"""
- name: Count a tick
  tradingflow.maintenance.release_soak:
    environment_name: staging
    storage: "{{ tradingflow_storage }}"
    application: tradingflow
    namespace: staging
    deployment: tradingflow-app
    container: tradingflow-app
    hours: 24
    requests: 100000
    market_minutes: 390
    market_calendars: [XNYS]
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
outcome:
  description: What came of it, V(begun), V(counted), V(held), V(reset), V(gap), V(clock), V(failed) or V(nothing).
  returned: when the record could be read
  type: str
  sample: counted
text:
  description: The same in a line.
  returned: when the record could be read
  type: str
  sample: "v1.2.1: counted; 3.5 h of 24 h, 0 resets."
state:
  description:
    - The release's, V(rolling_out), V(stepping), V(switched), V(soaking), V(failed), V(undone) or V(promoted); empty
      without one.
  returned: when the record could be read
  type: str
due:
  description: Whether there is a step to be taken.
  returned: when the record could be read
  type: bool
eligible:
  description: Whether it may be promoted now.
  returned: when the record could be read
  type: bool
reasons:
  description: What forbids that, each with C(name), C(message) and C(remedy).
  returned: when the record could be read
  type: list
  elements: dict
undone:
  description: What the undo came to; empty when there was none.
  returned: when the record could be read
  type: dict
ended:
  description: Whether a phase ended, which belongs into the ledger.
  returned: when the record could be read
  type: bool
release:
  description: Its C(release), C(version), C(digest), C(state) and C(reason).
  returned: when the record could be read
  type: dict
"""
