# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controls by id, and their titles."""

from __future__ import annotations

from typing import Dict

#: Id -> title. A control with instances has them after a colon.
CONTROLS: Dict[str, str] = {
    "compliance.audit_trail_chain": "The trading audit trail's chain is unbroken",
    "compliance.audit_trail_orders": "Every order has its entry in the audit trail",
    "compliance.audit_trail_cancels": "Every cancel has its entry in the audit trail",
    "compliance.audit_trail_limits": "Every change of a limit has its entry in the audit trail",
    "compliance.audit_log_chain": "The audit log's chain is unbroken",
    "compliance.clock_synchronisation": "Clocks are as near to UTC as required",
    "compliance.kyc_reviews": "Reviews of clients are not overdue",
    "compliance.kyc_documents": "Clients' documents are valid",
    "compliance.kyc_screening": "Clients were screened recently",
    "compliance.large_transactions": "Large transactions were reviewed",
    "compliance.structured_transactions": "Transactions that may be structured were reviewed",
    "compliance.personal_data": "Personal data are in the inventory",
    "compliance.retention": "Nothing is kept beyond its time",
    "compliance.data_requests": "Requests of data subjects are answered in time",
    "compliance.erasure_proven": "What was erased is gone",
    "compliance.erasure_in_backups": "Backups no longer hold what was erased",
    "compliance.risk_assessments": "Risk assessments are current",
    "compliance.regulatory_reports": "Regulatory reports were sent and acknowledged",
}
