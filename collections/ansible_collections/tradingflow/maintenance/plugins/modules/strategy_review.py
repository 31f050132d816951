#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: strategy_review
short_description: Review the performance, drawdown and diversification of strategies
version_added: "0.1.0"
description:
  - First checks that the equity of every strategy and day is that of the day before, its result and its flow. Figures
    of a strategy whose books do not add up are unknown.
  - Computes returns, Sharpe ratios with their intervals, drawdowns against what a strategy's own past leads one to
    expect, correlations and shares of risk, of strategies, accounts and the book. docs/review.md has every formula.
  - Bridges the live result to what a backtest expected of the same days, where the platform has expectations.
  - What is too short to tell is unknown, and strategies that cannot be told apart are not ranked.
  - Compares the history with what the last review read, and says what has been restated.
  - Reads views of the schema C(maintenance), which the platform's owner defines over tables of their own.
  - Runs on the controller, in one transaction that cannot write. It changes nothing.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - numpy on the controller
options:
  timeout:
    description: Seconds one statement may take.
    type: int
    default: 120
  days:
    description: How many days are read, back from today.
    type: int
    default: 1826
  until:
    description: The last day of the review, as YYYY-MM-DD. By default the last one that is over, by the database.
    type: str
  calendars:
    description: Calendars of your own, as in M(tradingflow.maintenance.trading_checks).
    type: dict
    default: {}
  currency:
    description: The currency of accounts and the book. Needed when strategies have several.
    type: str
  rates:
    description: Of each other currency the instrument whose prices, in O(currency), are its rate.
    type: dict
    default: {}
  rate_age:
    description: Hours before the end of a day after which a price is no rate of that day. Must cover weekends.
    type: int
    default: 96
  tolerance:
    description: By how much the equity of a day may differ from what it adds up to, in its currency.
    type: str
    default: "0"
  confidence:
    description: Of all intervals, and of what is called beyond chance.
    type: float
    default: 0.95
  minimum_sessions:
    description: With fewer sessions nothing is said, and a strategy is left out of correlations.
    type: int
    default: 60
  target:
    description: Return per year, in %, below which a return counts as a loss in Sortino and Omega.
    type: float
    default: 0.0
  trials:
    description: How many variants of a strategy were tried before it was chosen, for its deflated Sharpe ratio.
    type: list
    elements: dict
    default: []
    suboptions:
      strategy:
        description: Its name.
        type: str
        required: true
      trials:
        description: How many, this one included.
        type: int
        required: true
      variance:
        description: Of their Sharpe ratios per year. By default that of as many without any skill.
        type: float
  drawdown_limits:
    description: Strategy (or account) to the drawdown, in %, that is critical for it instead of the threshold.
    type: dict
    default: {}
  paths:
    description: How many paths of its own returns a drawdown is compared with.
    type: int
    default: 1000
  expectations:
    description: Strategies that must have a backtest to be compared with. One that has none is unknown.
    type: list
    elements: str
    default: []
  thresholds:
    description: When values are bad. What is left out keeps its default; C(.inf) switches one off.
    type: dict
    suboptions:
      sharpe:
        description: Sharpe ratio per year. Bad when its whole interval is not above it, unknown when that contains it.
        type: dict
        suboptions:
          warning:
            description: Warning from here down.
            type: float
            default: 0
          critical:
            description: Critical from here down.
            type: float
      drawdown:
        description: How far below the peak, in %.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 10
          critical:
            description: Critical from here on.
            type: float
            default: 20
      drawdown_sessions:
        description: Sessions since the peak. Without a default.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
      drawdown_percentile:
        description: Deeper, or longer, than how many of the paths, in %.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 95
          critical:
            description: Critical from here on.
            type: float
      restated:
        description: Months of a strategy's history that changed since the last review.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      correlation:
        description: The largest correlation of two strategies.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 0.9
          critical:
            description: Critical from here on.
            type: float
      risk_share:
        description: The largest share of the book's risk, in %.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 50
          critical:
            description: Critical from here on.
            type: float
      concentration:
        description: The largest share of one instrument in all that is held, in %.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 50
          critical:
            description: Critical from here on.
            type: float
      participation:
        description: What a strategy took of its markets' volume, in %, on 95 % of days and instruments traded.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 10
          critical:
            description: Critical from here on.
            type: float
      residual:
        description: What nobody can explain between a backtest's result and the live one, in % of the capital.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 0.5
          critical:
            description: Critical from here on.
            type: float
      drift:
        description: Live less expected return, in % per year, either way. Bad when its whole interval is beyond it.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 5
          critical:
            description: Critical from here on.
            type: float
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Reviews all the same; it changes nothing.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
"""

EXAMPLES = r"""
- name: Review the strategies
  tradingflow.maintenance.strategy_review:
    run: "{{ maintenance_run }}"
    database: "{{ tradingflow_database }}"
    currency: USD
    rates: {EUR: "FXHUB:EUR-USD"}
    trials:
      - {strategy: trend-coins, trials: 40}
"""

RETURN = r"""
review:
  description: What the ledger keeps - the method, a digest of what was read, the options, and all figures.
  returned: when it could be reviewed
  type: dict
checks:
  description: The checks, as contract 1 (docs/checks.md).
  returned: always
  type: list
  elements: dict
actions:
  description: The charts.
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: always
  type: str
  sample: ok
"""
