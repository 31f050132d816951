#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stakeholder_report
short_description: Draft the performance report of a month
version_added: "0.1.0"
description:
  - Reads the platform's books, computes the month of strategies, accounts and the book, and what made the result, and
    writes a document for each class of recipients, as HTML and PDF. docs/stakeholders.md has what is in it.
  - What the books do not carry is not told, and its check is unknown.
  - Keeps each PDF in the store under its SHA-256. Nothing is sent; M(tradingflow.maintenance.stakeholder_mail) does
    that with what was approved. The same inputs give the same bytes.
  - Runs on the controller, in one transaction that cannot write.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - numpy and weasyprint on the controller
options:
  benchmark:
    description: What the book is compared with.
    type: dict
    suboptions:
      instrument:
        description: Its instrument in the view C(prices), in the report's currency.
        type: str
      title:
        description: What the document calls it. By default the instrument.
        type: str
      reason:
        description: Why there is none.
        type: str
  directory:
    description: Folder for the documents. Within a run (O(run)) it is the run's own. Relative to the project.
    type: path
  timeout:
    description: Seconds one statement may take.
    type: int
    default: 120
  days:
    description: How many days are read, back from today.
    type: int
    default: 1826
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
    description: Hours before a moment after which a price is none of that moment. Must cover weekends.
    type: int
    default: 96
  tolerance:
    description: By how much the equity of a day may differ from what it adds up to, in its currency.
    type: str
    default: "0"
  confidence:
    description: Of all intervals.
    type: float
    default: 0.95
  evidence:
    description: Keys of the ledger, which tells runs, changes and incidents of the month.
    required: true
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.run
  - tradingflow.maintenance.stakeholders
  - tradingflow.maintenance.storage
attributes:
  check_mode:
    description: Computes the same, and neither keeps nor records it. Within a run, documents go into its folder.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
"""

EXAMPLES = r"""
- name: Draft the report of the last month
  tradingflow.maintenance.stakeholder_report:
    run: "{{ maintenance_run }}"
    database: "{{ tradingflow_database }}"
    storage: "{{ tradingflow_storage }}"
    evidence: "{{ tradingflow_evidence }}"
    environment_name: production
    currency: USD
    benchmark: {reason: "The strategies are market neutral."}
    recipients:
      - name: investors
        addresses: [investors@example.com]
        sections: [book, attribution, changes]
"""

RETURN = r"""
documents:
  description: The drafts - name, sha256, key (in the store), size, recipients (SHA-256 of the addresses).
  returned: when the month could be told
  type: list
  elements: dict
files:
  description: Where HTML and PDF were written.
  returned: when the month could be told
  type: list
  elements: str
record:
  description: What the ledger keeps of the drafts. Missing when its newest record has just these.
  returned: when there is something new
  type: dict
subjects:
  description: The documents as subjects of that record.
  returned: when there is something new
  type: list
  elements: dict
checks:
  description: The checks, as contract 1 (docs/checks.md).
  returned: always
  type: list
  elements: dict
actions:
  description: What was done.
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: always
  type: str
  sample: ok
"""
