#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stakeholder_mail
short_description: Send performance reports that were approved
version_added: "0.1.0"
description:
  - Sends the newest drafts of M(tradingflow.maintenance.stakeholder_report) whose SHA-256 is approved, unchanged, to
    the addresses they were drafted for. An approval of anything else is critical, and sends nothing.
  - Every mail is recorded before and after it is sent. Who has it already gets nothing twice; after a loss in between
    it is sent again with the same message id, which mail programs show once.
  - Runs on the controller.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  approved:
    description: SHA-256 of the documents that may be sent. Approvals on record count as well.
    type: list
    elements: str
    default: []
  mail:
    description: The mail server.
    type: dict
    required: true
    suboptions:
      host:
        description: Its name, as in its certificate.
        type: str
        required: true
      port:
        description: Its port. By default 587, 465 or 25, as O(mail.tls) is.
        type: int
      tls:
        description: How the connection is encrypted. With C(none) there is no login.
        type: str
        default: starttls
        choices: [starttls, implicit, none]
      ca_file:
        description: Certificates to trust instead of the system's.
        type: path
      user:
        description: Who logs in. Without it nobody does.
        type: str
      password:
        description: The password.
        type: str
      sender:
        description: Address that the mails come from.
        type: str
        required: true
      reply_to:
        description: Address for answers.
        type: str
      timeout:
        description: Seconds the server may take to answer.
        type: int
        default: 60
  witness:
    description: The local file that remembers the ledger's records. Relative to the project.
    type: path
  evidence:
    description: Keys of the ledger, which knows drafts and gets what is sent.
    required: true
extends_documentation_fragment:
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.run
  - tradingflow.maintenance.stakeholders
  - tradingflow.maintenance.storage
attributes:
  check_mode:
    description: Says how many mails would be sent to whom, and connects to no mail server.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
"""

EXAMPLES = r"""
- name: Send what was approved
  tradingflow.maintenance.stakeholder_mail:
    run: "{{ maintenance_run }}"
    storage: "{{ tradingflow_storage }}"
    evidence: "{{ tradingflow_evidence }}"
    environment_name: production
    recipients: "{{ stakeholder_report_recipients }}"
    approved: [0c6f6f5f2f6a2c2d2f7a1b7c9f0c0f0c6f6f5f2f6a2c2d2f7a1b7c9f0c0f0c6f]
    mail: {host: mail.example.com, sender: reports@example.com}
"""

RETURN = r"""
sent:
  description: How many mails the server took in this run.
  returned: when nothing stood in the way
  type: int
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
