# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the controls."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Dict

from ..database import DATABASE_SPEC
from ..errors import ConfigurationError
from ..ledger import SIGNING_SPEC
from ..storage import STORAGE_SPEC
from ..words import printable
from .duties import EVERY, dates, duties
from .requirements import ACTIVITIES

SPEC: Dict[str, Any] = {
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "timeout": {"type": "int", "default": 120},
    "environment_name": {"type": "str", "required": True},
    "storage": {"type": "dict", "options": STORAGE_SPEC},
    "evidence": {"type": "dict", "options": SIGNING_SPEC},
    "directory": {"type": "path"},
    "requirements_file": {"type": "path"},
    "jurisdictions": {"type": "list", "elements": "str", "default": ["EU"]},
    "activity": {"type": "str", "default": "high_frequency", "choices": list(ACTIVITIES)},
    "owners": {"type": "dict", "default": {}},
    "period_days": {"type": "int", "default": 31},
    "trail_tolerance": {"type": "float", "default": 1},
    "screening_days": {"type": "int", "default": 365},
    "large_transactions": {"type": "dict", "default": {"EUR": "10000", "USD": "10000", "GBP": "10000"}},
    "structured_days": {"type": "int", "default": 7},
    "aml_days": {"type": "int", "default": 90},
    "aml_review_days": {"type": "int", "default": 5},
    "personal_data": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "column": {"type": "str", "required": True},
            "purpose": {"type": "str", "required": True},
            "basis": {"type": "str", "default": ""},
            "erasure": {"type": "bool", "default": True},
        },
    },
    "not_personal": {"type": "list", "elements": "str", "default": []},
    "no_data_requests": {"type": "bool", "default": False},
    "backup_keep_days": {"type": "int", "default": 0},
    "risk_assessment_days": {"type": "int", "default": 365},
    "calendar": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "report": {"type": "str", "required": True},
            "title": {"type": "str", "default": ""},
            "every": {"type": "str", "required": True, "choices": list(EVERY)},
            "since": {"type": "str", "required": True},
            "due_days": {"type": "int", "required": True},
            "working_days": {"type": "bool", "default": False},
            "acknowledged_days": {"type": "int", "default": 3},
        },
    },
    "holidays": {"type": "list", "elements": "str", "default": []},
}

_POSITIVE = ("period_days", "screening_days", "structured_days", "aml_days", "risk_assessment_days")


def parameters(options: Dict[str, Any]) -> Dict[str, Any]:
    """What statements and judgements need to know.

    :raises ConfigurationError: an option makes no sense
    """
    for name in _POSITIVE:
        if options[name] < 1:
            raise ConfigurationError(f"The option {name} must be at least 1 day.", "Raise it.")
    if options["aml_review_days"] < 0 or options["backup_keep_days"] < 0 or not options["trail_tolerance"] >= 0:
        raise ConfigurationError(
            "aml_review_days, backup_keep_days and trail_tolerance must be 0 or more.", "Raise what is below."
        )
    for currency, value in options["large_transactions"].items():
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or amount <= 0:
            raise ConfigurationError(
                f"The limit of large transactions in {printable(currency, 20)} is no number above 0.", "Correct it."
            )
    large = {str(currency): str(value) for currency, value in options["large_transactions"].items()}
    names = (*_POSITIVE, "aml_review_days", "backup_keep_days", "trail_tolerance", "no_data_requests")
    return {
        **{name: options[name] for name in names},
        "large": json.dumps(large),
        "inventory": options["personal_data"],
        "calendar": duties(options["calendar"]),
        "holidays": dates(options["holidays"]),
    }
