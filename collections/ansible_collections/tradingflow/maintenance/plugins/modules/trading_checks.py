#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: trading_checks
short_description: Check strategies, executions and what the venues say of them
version_added: "0.1.0"
description:
  - Measures heartbeats of the platform and of every strategy, each strategy's expected against its observed state, and
    its orders when some are due, by the calendar of its market (docs/checks.md).
  - Measures latency and slippage of the last day's orders.
  - Compares executions, fees, positions and cash with the venues' statements, each as of the statement's own cut-off,
    and says which breaks are new, carried on from the run before, or resolved.
  - Reads views of the schema C(maintenance), which the platform's owner defines over tables of their own. A missing
    view, column or right makes its checks unknown, and the message says what to define.
  - Runs on the controller, in one transaction that cannot write. It reports and never books or changes anything.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  timeout:
    description: Seconds one statement of the checks may take; what takes longer is unknown.
    type: int
    default: 60
  tolerances:
    description: How far executions and positions may differ from the venue's statement, 0 without an entry.
    type: list
    elements: dict
    default: []
    suboptions:
      instrument:
        description: Its code, or C(*) for all that have no entry of their own.
        type: str
        required: true
      quantity:
        description: Of an execution, and of a position.
        type: str
        default: "0"
      price:
        description: Of an execution, in its currency.
        type: str
        default: "0"
      fee:
        description: Of an execution, in its currency.
        type: str
        default: "0"
  cash_tolerance:
    description: How far cash may differ from the venue's statement, in its currency.
    type: str
    default: "0"
  minimum_orders:
    description: Fewer orders of the last day than this are reported, and their ratios not judged.
    type: int
    default: 50
  price_age:
    description: Hours after which a price says nothing of a risk limit. Must cover weekends and holidays.
    type: int
    default: 120
  equity_age:
    description: Hours after which an equity says nothing of a risk limit.
    type: int
    default: 36
  match_window:
    description:
      - Seconds between an execution that is missing here and one that is missing at the venue that may be the same.
      - They must agree in account, instrument, side, kind, quantity and price. They stay breaks, and are flagged.
    type: int
    default: 60
  cutoff_tolerance:
    description:
      - Seconds around a statement's cut-off in which the venue may count an execution, or what it moved, on the other
        side.
      - An execution of ours that is missing at the venue and so near to the newest cut-off is a warning until the next
        statement.
    type: float
    default: 1
  open_order_days:
    description: Days that an order good till cancelled, or till a date, may be open.
    type: int
    default: 30
  instances:
    description: How many instances of the platform should be alive by their heartbeats; V(-1) for one at least.
    type: int
    default: -1
  calendars:
    description:
      - Calendars of your own, by name, as C(calendar) of C(maintenance.strategies) has it. They come before those that
        are known without, C(24/7), C(24/5) (Sunday to Friday, 22:00 UTC) and codes of exchanges such as C(XNYS).
      - Each has C(timezone), C(sessions) (weekday to opening and close, or to a list of such; a close that is not after
        the opening is on the next day), C(holidays) (a list of dates) and C(half_days) (date to close).
    type: dict
    default: {}
  thresholds:
    description:
      - From which value on a check is a warning or critical. What is left out keeps its default.
      - C(.inf) means that there is no such threshold.
    type: dict
    suboptions:
      strategy_heartbeat:
        description: Age of a strategy's heartbeat, in multiples of its expected interval.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 3
          critical:
            description: Critical from here on.
            type: float
            default: 10
      orders_due:
        description: Time of open market since a strategy's last order, in multiples of its longest pause.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
            default: 3
      platform_heartbeat:
        description: Age of the platform's freshest heartbeat, in multiples of its expected interval.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 3
          critical:
            description: Critical from here on.
            type: float
            default: 10
      venue_statements:
        description:
          - Age of the oldest of the newest statements, in multiples of the venue's interval.
          - From critical on it is stale, and what needs it is unknown.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1.5
          critical:
            description: Critical from here on.
            type: float
            default: 2
      reconcile_executions:
        description: Breaks between executions and the venues' statements.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      reconcile_fees:
        description: Account, venue, currency and day whose fees differ from the venues' statements.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      reconcile_positions:
        description: Breaks between positions and the venues' statements.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      reconcile_cash:
        description: Breaks between cash and the venues' statements.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      execution_times:
        description: Seconds by which our time of an execution and the venue's differ, at most.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 2
          critical:
            description: Critical from here on.
            type: float
            default: 60
      duplicate_executions:
        description: Executions booked more than once, by venue and the venue's id.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      duplicates:
        description: Rows that a view has more than once, by what names them.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      failed_transactions:
        description: Transactions that failed and nobody has dealt with.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
            default: 10
      failed_age:
        description: Age of the oldest of them, in s.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 86400
      failed_amount:
        description: What they add up to, in the currency with the most.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1000000
      stuck_transactions:
        description: Age of the oldest transaction that is neither settled nor failed, in s.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 3600
          critical:
            description: Critical from here on.
            type: float
            default: 86400
      stuck_amount:
        description: What those stuck add up to, in the currency with the most.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1000000
      reject_ratio:
        description: Rejected orders of the last day, in %.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 5
          critical:
            description: Critical from here on.
            type: float
            default: 20
      fill_ratio:
        description: Filled orders, at least in part, of the last day's accepted and closed ones, in %. From here down.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 70
          critical:
            description: Critical from here on.
            type: float
            default: 40
      orders_without_executions:
        description: Orders that are filled and have no execution.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      executions_without_orders:
        description: Executions whose order is not there.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      acknowledge_latency:
        description: From an order's creation to its acknowledgement, in ms, of 95 % of the last day's orders.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1000
          critical:
            description: Critical from here on.
            type: float
            default: 5000
      execution_latency:
        description: From a market order's creation to its first execution, in ms, of 95 % of the last day's.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1000
          critical:
            description: Critical from here on.
            type: float
            default: 5000
      slippage:
        description: How much worse than at their arrival the last day's orders were executed, in basis points, of 95 %.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 25
          critical:
            description: Critical from here on.
            type: float
            default: 100
      filled_quantities:
        description: Orders whose filled quantity is not what their executions add up to.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      order_quantities:
        description: Orders whose executions do not fit the quantity ordered.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      strategy_positions:
        description: Positions that are not what the strategy's own executions add up to.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      unacknowledged_orders:
        description: Age of the oldest open order without the venue's word, in s.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 60
          critical:
            description: Critical from here on.
            type: float
            default: 600
      open_orders:
        description: Orders open for longer than their time in force allows.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
            default: 10
      old_prices:
        description: Age of the oldest of the newest prices of what is held, in s, by days on which its venue was open.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 86400
          critical:
            description: Critical from here on.
            type: float
            default: 172800
      price_jumps:
        description: Largest step from one price to the next in the last day, in % of the lower one.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 25
          critical:
            description: Critical from here on.
            type: float
            default: 100
      risk_limits:
        description: Used share of a limit. For the warning, the limit's own C(warning_ratio) comes first.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 0.8
          critical:
            description: Critical from here on.
            type: float
            default: 1
      unlimited_strategies:
        description: Strategies without an active limit of their own.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      disabled_limits:
        description: Limits that are switched off.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.run
"""

EXAMPLES = r"""
- name: Check trading
  tradingflow.maintenance.trading_checks:
    run: "{{ maintenance_run }}"
    database: "{{ tradingflow_database }}"
    thresholds:
      strategy_heartbeat: {critical: 5}
    tolerances:
      - {instrument: "*", fee: "0.01"}
    calendars:
      night-desk: {timezone: Europe/Oslo, sessions: {mon: ["22:00", "06:00"]}, holidays: ["2026-12-25"]}
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
"""
