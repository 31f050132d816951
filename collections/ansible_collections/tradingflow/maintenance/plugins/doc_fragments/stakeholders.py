# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  environment_name:
    description: The environment's name, as in the store and the ledger.
    type: str
    required: true
  month:
    description: The month, as YYYY-MM. By default the last one that is over.
    type: str
  title:
    description: Title of the documents and subject of the mails.
    type: str
    default: Performance report
  recipients:
    description: Classes of recipients. Each gets a document of its own.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Small letters, digits and dashes, such as C(investors).
        type: str
        required: true
      title:
        description: What the document calls them. By default O(recipients[].name).
        type: str
      addresses:
        description: Mail addresses. Other addresses need another draft, and another approval.
        type: list
        elements: str
        required: true
      sections:
        description: What they see. Period, definitions and what the figures rest on are in every document.
        type: list
        elements: str
        required: true
        choices:
          - book
          - accounts
          - strategies
          - attribution
          - instruments
          - risk
          - operations
          - changes
"""
