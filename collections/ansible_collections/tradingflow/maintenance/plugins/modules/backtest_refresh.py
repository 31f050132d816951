#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backtest_refresh
short_description: Run strategies' backtests again, probe them, and compare them with the refresh before
version_added: "0.1.0"
description:
  - Takes a snapshot of prices in one transaction that cannot write, and runs each strategy's code on it. The code sees
    what it is given and nothing else - no network, no passwords, nothing to write but memory. Where that cannot be had,
    nothing is run.
  - Runs each strategy several times, changed in one thing at a time. With prices up to some day only nothing before may
    differ (look-ahead), the same must give the same, and a longer warm-up must not matter.
  - Computes all figures itself; a strategy leaves equity, fills and how many variants were tried.
  - Compares with the refresh before, in three ways, so that restated prices, changed code and a changed engine are told
    apart.
  - What is done is not done again. A refresh that was killed goes on where it was.
  - Runs on the controller. docs/backtest.md has the contract for strategies.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - numpy on the controller
  - Linux, as root or where users may make namespaces
options:
  timeout:
    description: Seconds one statement may take.
    type: int
    default: 600
  strategies:
    description: What is refreshed.
    type: list
    elements: dict
    default: []
    suboptions:
      strategy:
        description: Its name.
        type: str
        required: true
      code:
        description: File or folder of its code, on the controller. It is copied before anything is run.
        type: path
        required: true
      command:
        description:
          - How it is run. C({code}) is where its code lies then, C({python}) its engine's interpreter.
          - The first is an absolute path in there.
        type: list
        elements: str
        required: true
      engine:
        description: What runs its code.
        type: dict
        suboptions:
          python:
            description: Interpreter of its locked environment. By default the controller's.
            type: path
          paths:
            description: What the engine consists of besides, all of it readable for the strategy.
            type: list
            elements: path
            default: []
          lock:
            description: Files that name its versions, by which it is known.
            type: list
            elements: path
            default: []
      image:
        description: Its image, named by digest, for O(kubernetes).
        type: str
      parameters:
        description: Its parameters, as it gets them.
        type: dict
        default: {}
      instruments:
        description: What it may trade. One that left its universe and came back is there twice.
        type: list
        elements: dict
        required: true
        suboptions:
          instrument:
            description: As in the view C(maintenance.prices).
            type: str
            required: true
          from:
            description: Its first day in the universe, as YYYY-MM-DD.
            type: str
          until:
            description: Its last day there, if it is over.
            type: str
      from:
        description: First day of the window, as YYYY-MM-DD.
        type: str
        required: true
      warm_up_days:
        description: Days before the window of which it gets prices.
        type: int
        default: 0
      capital:
        description: What it begins with.
        type: str
        required: true
      currency:
        description: Of its equity.
        type: str
        required: true
      calendar:
        description: Whose sessions count, as in the view C(maintenance.strategies).
        type: str
        required: true
      costs:
        description: What it has to pay, such as fees and funding, as it gets them. Numbers; one run doubles them.
        type: dict
        default: {}
      seed:
        description: Of all that it draws.
        type: int
        default: 1
      trials:
        description: How many variants were tried before it was chosen. If it says that there were more, these count.
        type: int
        default: 1
  directory:
    description:
      - Folder of the controller that keeps code, prices and results by their digests.
      - Relative to the project, the folder with its C(ansible.cfg).
    type: path
    required: true
  until:
    description: The last day of the refresh, as YYYY-MM-DD. By default the last one that is over, by the database.
    type: str
  calendars:
    description: Calendars of your own, as in M(tradingflow.maintenance.trading_checks).
    type: dict
    default: {}
  cuts:
    description: How many shorter runs look for a look-ahead, besides the one that ends a day before the last.
    type: int
    default: 3
  workers:
    description: How many runs go on at a time. 0 is one for each processor.
    type: int
    default: 0
  retries:
    description: How often a run that failed is tried again. Exit status 42 says that it need not be.
    type: int
    default: 1
  seconds:
    description: Seconds one run may take, on the clock.
    type: int
    default: 3600
  memory_mb:
    description: Memory of one run, all its processes together, in MiB.
    type: int
    default: 2048
  scratch_mb:
    description: What one run may write, outputs and temporary files together, in MiB. It lies in memory.
    type: int
    default: 256
  processes:
    description: How many processes one run may have.
    type: int
    default: 64
  confidence:
    description: Of intervals and of the deflated Sharpe ratio.
    type: float
    default: 0.95
  minimum_sessions:
    description: With fewer sessions nothing is said of performance.
    type: int
    default: 60
  kubernetes:
    description:
      - Also writes the first run of each strategy down as an Indexed Job with its network policy, as C(kubernetes.json)
        in O(directory). Nothing is sent to a cluster.
    type: dict
    suboptions:
      namespace:
        description: Where the Job is to run.
        type: str
        required: true
      claim:
        description: A PersistentVolumeClaim with the folder C(handover) of O(directory).
        type: str
        required: true
      parallelism:
        description: How many strategies run at a time.
        type: int
        default: 10
      max_failed:
        description: After how many failed strategies the Job ends.
        type: int
        default: 5
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
      pbo:
        description: Probability of backtest overfitting, in %.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 20
          critical:
            description: Critical from here on.
            type: float
            default: 50
      warm_up:
        description: By how much equity changes with a longer warm-up, in % of the capital.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 0.1
          critical:
            description: Critical from here on.
            type: float
      books:
        description: By how much equity differs from what fills, fees and prices make of the capital, in % of it.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 0.1
          critical:
            description: Critical from here on.
            type: float
            default: 1
      fill_prices:
        description: By how much a fill was better than the prices right before and after it, in %.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 0.1
          critical:
            description: Critical from here on.
            type: float
      change:
        description: By how much engine, prices or code changed the last equity, in % of the capital.
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
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Runs nothing, and says so.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
"""

EXAMPLES = r"""
- name: Refresh the backtests
  tradingflow.maintenance.backtest_refresh:
    run: "{{ maintenance_run }}"
    database: "{{ tradingflow_database }}"
    directory: artifacts/backtests
    strategies:
      - strategy: trend-coins
        code: strategies/trend_coins
        command: ["{python}", "-B", "{code}/backtest.py"]
        engine: {python: /opt/engine/bin/python, lock: [strategies/requirements.lock]}
        parameters: {days: 20}
        instruments:
          - {instrument: "COINX:BTC-USD", from: "2020-01-01"}
          - {instrument: "COINX:LUNA-USD", from: "2020-01-01", until: "2022-05-12"}
        from: "2021-01-01"
        warm_up_days: 40
        capital: "1000000"
        currency: USD
        calendar: 24/7
        costs: {fee_bps: "5"}
        trials: 40
"""

RETURN = r"""
refresh:
  description: What the ledger keeps - the method, digests of prices, code, engine and results, figures and verdicts.
  returned: when something could be refreshed
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
