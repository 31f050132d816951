#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_window
short_description: Ask whether something disruptive may be done now
version_added: "0.1.0"
description:
  - Asks the gates that a procedure must pass, and answers V(allow), V(hold) until a time, or V(refuse). Each reason is
    a check.
  - V(hold) means that only markets or a freeze are in the way, and until when. Everything else that does not pass means
    V(refuse). What cannot be known never allows.
  - A venue is closed when its calendar says so, with a margin before it opens and after it closes. One that never
    closes needs a declared quiet window.
  - It keeps nothing between two calls. Ask again right before the step that cannot be undone, with the O(duration) that
    is left.
  - Runs on the controller and changes nothing. The task never fails because of the answer; go by RV(answer).
  - In check mode V(hold) is a warning, as nothing hangs on it; otherwise it is critical.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - boto3, cryptography
  - exchange-calendars, for calendars by an exchange's code
  - psycopg2
options:
  procedure:
    description: What is to be done, for example V(migrate).
    type: str
    required: true
  gates:
    description:
      - The gates that it must pass. None allows always.
      - V(market), no venue is open. V(freeze), no freeze holds. V(trading_state), no order or transaction is on its
        way, and the newest whole daily found no break. V(backup), the newest recovery point is fresh and whole, and a
        drill restored one lately. V(findings), the newest whole daily left nothing critical or unknown open.
        V(error_budget), the availability objective leaves something, by the records in the ledger.
    type: list
    elements: str
    choices: [market, freeze, trading_state, backup, findings, error_budget]
    required: true
  environment_name:
    description: Name of the environment.
    type: str
    required: true
  evidence:
    description: Keys of the ledger. Only public keys are needed. Without it what is looked up there is unknown.
  database:
    description:
      - The platform's database with the schema C(maintenance), by a role that can read its views.
      - Without it V(market) and V(trading_state) are unknown.
    required: false
  storage:
    description: The S3 store with ledger, reports and recovery points. Without it what lies there is unknown.
    required: false
  duration:
    description: Seconds that it takes, with the time to undo it. So long nothing may open or begin.
    type: int
    default: 3600
  downtime:
    description: Seconds of downtime that it may cause. V(error_budget) must have as much left.
    type: int
    default: 0
  days:
    description: Days that are looked ahead for windows, 90 at most.
    type: int
    default: 14
  timezone:
    description: Time zone in which times are told, such as V(Europe/Berlin).
    type: str
    default: UTC
  venues:
    description:
      - What the view C(maintenance.venues) does not say of venues, and venues that are not in it.
      - A venue without a calendar, or with one that is not known, makes V(market) unknown.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The venue, as the view calls it.
        type: str
        required: true
      calendar:
        description:
          - Its calendar, V(24/7), V(24/5), a name of O(calendars), or an exchange's code (MIC) as exchange-calendars
            knows it.
          - By default that of the view.
        type: str
      quiet:
        description:
          - When it may be disturbed though it is open, C(timezone), C(windows) by weekday, and days C(except)ed.
          - Times that the clocks show twice, or never, make it shorter.
        type: dict
  calendars:
    description: The operator's own calendars, as in M(tradingflow.maintenance.trading_checks).
    type: dict
    default: {}
  before_open:
    description: Seconds before a venue opens from which it counts as open.
    type: int
    default: 1800
  after_close:
    description: Seconds after a venue closed until which it counts as open.
    type: int
    default: 900
  freezes:
    description: Periods in which nothing is changed. They may overlap.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What people call it.
        type: str
        required: true
      from:
        description: Its first day, or a time.
        type: raw
        required: true
      until:
        description: Its last day, which belongs to it, or a time. Without it the freeze has no end.
        type: raw
      timezone:
        description: Where days and times without an offset are meant.
        type: str
        default: UTC
      reason:
        description: Why; the message says it.
        type: str
        default: ""
  resting_orders:
    description:
      - Orders with these C(time_in_force) may stay open at the venue, when it acknowledged them and nothing was filled.
      - All other open orders are on their way.
    type: list
    elements: str
    choices: [gtc, gtd]
    default: []
  pending_transactions:
    description: Whether transactions may be pending, where settlement takes days.
    type: bool
    default: false
  daily_age:
    description: Seconds after which a daily run says nothing any more.
    type: int
    default: 93600
  acknowledged:
    description: Findings of the daily run that somebody knows of, and that hold nothing.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The check, with its instance.
        type: str
        required: true
      host:
        description: On which host; without it on all.
        type: str
      reason:
        description: Why it may stay open.
        type: str
        required: true
      until:
        description: The last day, or a time, until which that holds.
        type: raw
        required: true
  backup_engines:
    description: Engines whose newest recovery points must be fresh and proven.
    type: list
    elements: str
    choices: [logical, pgbackrest]
    default: [logical]
  backup_age:
    description: Seconds after which a recovery point is not fresh any more.
    type: int
    default: 93600
  backup_proven_days:
    description: Days after which a drill proves nothing any more. C(.inf) for no drill at all.
    type: float
    default: 8
  availability_objective:
    description: Percent of the time in which the platform must be up.
    type: float
    default: 99.9
  availability_days:
    description: Days for which the objective is counted, up to now.
    type: int
    default: 30
  availability_age:
    description: Seconds for which availability may be recorded late.
    type: int
    default: 172800
  clock_tolerance:
    description: Seconds that the clocks of database and store may be off this machine's.
    type: int
    default: 60
  override:
    description: Gates that are passed by though they hold (break-glass). Needs O(reason), and a ledger.
    type: list
    elements: str
    choices: [market, freeze, trading_state, backup, findings, error_budget]
    default: []
  reason:
    description: Why gates are overridden. Goes on the record.
    type: str
    default: ""
  timeout:
    description: Seconds that one statement may take.
    type: int
    default: 60
extends_documentation_fragment:
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.database
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Reads only, so it does the same; V(hold) is a warning then.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Ask the gates
  tradingflow.maintenance.maintenance_window:
    procedure: migrate
    gates: [market, freeze, trading_state, backup, findings]
    environment_name: production
    duration: 1800
    venues:
      - name: COINX
        quiet: {timezone: UTC, windows: {sun: ["02:00", "04:00"]}}
    freezes:
      - {name: year end, from: "2026-12-18", until: "2027-01-04", timezone: Europe/Berlin}
    evidence:
      trusted_key_files: [keys/evidence.pub]
  register: window

- name: Go on only when they allow it
  ansible.builtin.assert:
    that: window.answer == 'allow'
    fail_msg: "{{ window.text }}"
"""

RETURN = r"""
answer:
  description: V(allow), V(hold) or V(refuse).
  returned: always
  type: str
text:
  description: The same for people, with the time of V(hold).
  returned: always
  type: str
  sample: hold until Sun 2026-12-06 02:00 UTC
hold_until:
  description: With V(hold), from when on it is allowed if nothing else changes, RFC 3339.
  returned: when the gates could be asked
  type: str
held:
  description: Gates that do not pass.
  returned: always
  type: list
  elements: str
overridden:
  description: Gates that would hold, and were overridden.
  returned: always
  type: list
  elements: str
windows:
  description: The next windows in which no market and no freeze holds, C(from), C(to), C(begin_before) and C(hours).
  returned: always
  type: list
  elements: dict
checks:
  description: gate.answer, gate.windows, gate.clock, one or more of each gate, and gate.overridden, as contract 1.
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all.
  returned: always
  type: str
"""
