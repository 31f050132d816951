#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compliance_checks
short_description: Check controls of compliance and report what supports each requirement
version_added: "0.1.0"
description:
  - Checks the audit trail of trading, clocks, clients, transactions to review, personal data, data subjects' requests,
    risk assessments and reports to authorities, by views of the schema C(maintenance) and by earlier daily runs.
  - Says of each requirement in force (compliance/requirements.json) what supports it, and what is missing, with an
    owner and a day. The report is HTML, PDF, JSON and OSCAL assessment-results. It is no legal advice.
  - A missing view, column or right makes its control unknown, and the message says what to define (docs/compliance.md).
  - Runs on the controller, in one transaction that cannot write. No personal data are in what it returns or writes,
    except codes of accounts, requests and transactions.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  timeout:
    description: Seconds one statement may take. A control that takes longer is unknown.
    type: int
    default: 120
  environment_name:
    description: The environment's name, as in the store and the ledger.
    type: str
    required: true
  directory:
    description: Folder for the report. Within a run (O(run)) it is the run's own; without either none is written.
      Relative to the project.
    type: path
  requirements_file:
    description: Requirements of your own instead of the collection's (schemas/compliance-requirements-1.json). Relative
      to the project.
    type: path
  jurisdictions:
    description: Whose requirements apply. Those of C(any) always do.
    type: list
    elements: str
    default:
      - EU
  activity:
    description: What the platform does, which decides how far its clocks may be from UTC.
    type: str
    default: high_frequency
    choices:
      - high_frequency
      - algorithmic
      - other
  owners:
    description: Owner of requirements (C(compliance), C(operations), C(risk), C(aml), C(data_protection)) to who
      that is, as the report shows it.
    type: dict
    default: {}
  period_days:
    description: How many days are looked back. As many as a month has, so that each is seen.
    type: int
    default: 31
  trail_tolerance:
    description: Seconds by which an entry of the audit trail and what it is about may differ.
    type: float
    default: 1
  screening_days:
    description: Days after which a client must be screened again.
    type: int
    default: 365
  large_transactions:
    description: Currency to the amount from which on a client's deposit or withdrawal must be reviewed.
    type: dict
    default:
      EUR: "10000"
      USD: "10000"
      GBP: "10000"
  structured_days:
    description: Days within which smaller movements of a client are added up.
    type: int
    default: 7
  aml_days:
    description: How many days movements are looked back.
    type: int
    default: 90
  aml_review_days:
    description: Days after which a movement that nobody has reviewed is critical.
    type: int
    default: 5
  personal_data:
    description: The inventory of personal data.
    type: list
    elements: dict
    default: []
    suboptions:
      column:
        description: The column, as schema.table.column.
        type: str
        required: true
      purpose:
        description: What it is kept for.
        type: str
        required: true
      basis:
        description: The legal basis.
        type: str
        default: ""
      erasure:
        description: Whether an erasure has to reach it. Not where it is others' data, or a law demands to keep it.
        type: bool
        default: true
  not_personal:
    description: Columns that look like personal data and are none, as schema.table.column.
    type: list
    elements: str
    default: []
  no_data_requests:
    description: That no data subject ever asked for anything, so that an empty view is fine.
    type: bool
    default: false
  backup_keep_days:
    description: Days that a recovery point is kept, by the rules of retention. 0 if there are none.
    type: int
    default: 0
  risk_assessment_days:
    description: Days after which a risk assessment must be made again, whatever the platform says.
    type: int
    default: 365
  calendar:
    description: Reports to authorities that are due regularly.
    type: list
    elements: dict
    default: []
    suboptions:
      report:
        description: Its name, as in the view C(regulatory_reports).
        type: str
        required: true
      title:
        description: Its name for people. By default that of O(calendar[].report).
        type: str
        default: ""
      every:
        description: The period that it is about.
        type: str
        required: true
        choices:
          - day
          - week
          - month
          - quarter
          - year
      since:
        description: Periods that ended before this day do not count. As C(2026-01-31).
        type: str
        required: true
      due_days:
        description: Days after the end of the period on which it is due at the latest.
        type: int
        required: true
      working_days:
        description: Whether these are working days. Then days that are none have no report of their own, either.
        type: bool
        default: false
      acknowledged_days:
        description: Days after sending within which the authority has to answer.
        type: int
        default: 3
  holidays:
    description: Days from Monday to Friday that are no working days, as C(2026-12-25).
    type: list
    elements: str
    default: []
  evidence:
    description: Keys of the ledger whose records are counted. Only public keys are needed. Without it, what the ledger
      has is unknown.
  storage:
    required: false
extends_documentation_fragment:
  - tradingflow.maintenance.database
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.run
  - tradingflow.maintenance.storage
attributes:
  check_mode:
    description: Reads only, so it does the same. Within a run, the report goes into the run's own folder.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Assess compliance
  tradingflow.maintenance.compliance_checks:
    run: "{{ maintenance_run }}"
    environment_name: production
    database: "{{ tradingflow_database }}"
    storage: "{{ tradingflow_storage }}"
    jurisdictions: [EU, UK]
    owners:
      data_protection: J. Doe
    calendar:
      - {report: transactions, every: day, since: "2026-01-01", due_days: 1, working_days: true}
"""

RETURN = r"""
checks:
  description: The checks, as contract 1 (docs/checks.md).
  returned: always
  type: list
  elements: dict
files:
  description: Name, path and SHA-256 of each file of the report.
  returned: when the requirements could be read
  type: list
  elements: dict
subjects:
  description: The same as subjects of a record of the ledger.
  returned: when the requirements could be read
  type: list
  elements: dict
summary:
  description:
    - How many requirements are in force, how many gaps there are, and how many of them are overdue; and C(heads), the
      ends of the chains for which the next report looks.
  returned: when the requirements could be read
  type: dict
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: always
  type: str
  sample: ok
"""
