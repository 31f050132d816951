#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_validation
short_description: Validate risk models by what came of their forecasts
version_added: "0.1.0"
description:
  - Compares value at risk and expected shortfall, as the platform's own models forecast them, with what strategies and
    the book earned, and says how many exceptions there were, whether they cluster, and what the tests could have seen.
  - What a test does not reject, and could hardly have rejected, is unknown. A forecast made after its day began is
    none.
  - Computes the losses of stress scenarios, compares limits with what was used of them, and looks for models that were
    not validated in time. docs/validation.md has every formula.
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
    description: The last day of the validation, as YYYY-MM-DD. By default the last one that is over, by the database.
    type: str
  calendars:
    description: Calendars of your own, as in M(tradingflow.maintenance.trading_checks).
    type: dict
    default: {}
  currency:
    description: The currency of the book, accounts and scenarios. Needed when strategies have several.
    type: str
  rates:
    description: Of each other currency the instrument whose prices, in O(currency), are its rate.
    type: dict
    default: {}
  rate_age:
    description: Hours after which a price is none. Must cover weekends.
    type: int
    default: 96
  tolerance:
    description: By how much the equity of a day may differ from what it adds up to, in its currency.
    type: str
    default: "0"
  levels:
    description: Confidence levels of the forecasts. Another one is not judged.
    type: list
    elements: str
    default: ["0.99"]
  significance:
    description: The probability below which a test rejects.
    type: float
    default: 0.05
  minimum_power:
    description: With less power a test that does not reject says nothing.
    type: float
    default: 0.8
  alternative:
    description: Power is told against so many times as many exceptions.
    type: float
    default: 2.0
  clustering:
    description: Power of the test of independence is told against exceptions that follow one with this probability.
    type: float
    default: 0.25
  minimum_sessions:
    description: With fewer sessions nothing is said but bad news.
    type: int
    default: 60
  reference_sessions:
    description: How many sessions the plain historical model looks back.
    type: int
    default: 500
  limit_days:
    description: For how many days limits are compared with their use.
    type: int
    default: 31
  volatility_days:
    description: Of how many days prices are read for shocks by deviations.
    type: int
    default: 90
  scenarios:
    description: Stress scenarios.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      shocks:
        description: >-
          What moves. That of an instrument comes before that of its asset class, and that before everything. The one of
          a currency comes on top.
        type: list
        elements: dict
        required: true
        suboptions:
          instrument:
            description: The price of this instrument.
            type: str
          asset_class:
            description: Prices of all instruments of this class.
            type: str
          currency:
            description: The rate of this currency.
            type: str
          everything:
            description: All other prices.
            type: bool
            default: false
          percent:
            description: By so much, such as V("-20").
            type: str
          deviations:
            description: By so many standard deviations of its own daily moves, such as V("-5").
            type: str
      limits:
        description: Losses that are allowed, of C(book), C(account/NAME) or C(strategy/NAME). Without any, unknown.
        type: dict
        default: {}
  inventory:
    description: Models, besides those of the view C(risk_models).
    type: list
    elements: dict
    default: []
    suboptions:
      model:
        description: Its name, as in forecasts.
        type: str
        required: true
      version:
        description: Its version, as in forecasts.
        type: str
        required: true
      owner:
        description: Who answers for it.
        type: str
        required: true
      validated_on:
        description: The day, as YYYY-MM-DD. Without it the model has never been validated.
        type: str
      next_due_on:
        description: By when it is due again. By default O(validation_days) later.
        type: str
  validation_days:
    description: How many days a validation lasts where nobody says.
    type: int
    default: 365
  thresholds:
    description: When values are bad. What is left out keeps its default; C(.inf) switches one off.
    type: dict
    suboptions:
      forecasts_missing:
        description: Sessions without a forecast.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      forecasts_late:
        description: Sessions whose forecast was made after their day began.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
          critical:
            description: Critical from here on.
            type: float
            default: 1
      reference_ratio:
        description: Value at risk by that of the plain historical model, at the median.
        type: dict
        suboptions:
          warning:
            description: Warning from here down.
            type: float
            default: 0.5
          critical:
            description: Critical from here down.
            type: float
      stress:
        description: Loss of a scenario in % of its limit.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 80
          critical:
            description: Critical from here on.
            type: float
            default: 100
      limit_breaches:
        description: Days on which a limit was broken.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
      limit_near:
        description: Days on which a limit was used to its warning ratio or more, in %.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 50
          critical:
            description: Critical from here on.
            type: float
      limit_unused:
        description: The most that was used of a limit, in %. Bad below.
        type: dict
        suboptions:
          warning:
            description: Warning below.
            type: float
            default: 10
          critical:
            description: Critical below.
            type: float
      overdue:
        description: Days since a model's validation was due.
        type: dict
        suboptions:
          warning:
            description: Warning from here on.
            type: float
            default: 1
          critical:
            description: Critical from here on.
            type: float
            default: 90
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Validates all the same; it changes nothing.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
"""

EXAMPLES = r"""
- name: Validate the risk models
  tradingflow.maintenance.model_validation:
    run: "{{ maintenance_run }}"
    database: "{{ tradingflow_database }}"
    currency: USD
    rates: {EUR: "FXHUB:EUR-USD"}
    levels: ["0.99", "0.975"]
    scenarios:
      - name: coins halve
        shocks:
          - {asset_class: crypto, percent: "-50"}
          - {instrument: "COINX:BTC-USD", percent: "-40"}
        limits: {book: "2000000", strategy/trend-coins: "900000"}
"""

RETURN = r"""
validation:
  description: What the ledger keeps - the method, a digest of what was read, the options, models, and all verdicts.
  returned: when it could be validated
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
