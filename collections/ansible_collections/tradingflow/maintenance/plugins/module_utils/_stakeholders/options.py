# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a report to stakeholders may be told."""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, timedelta, timezone
from typing import Any, Dict, List, Tuple

from .._checks.trading import exact
from .._performance.options import SPEC as BOOKS
from ..errors import ConfigurationError
from ..ledger import SIGNING_SPEC
from ..storage import STORAGE_SPEC
from ..words import printable

#: What a class of recipients may see. The period, the definitions and what is missing are in every document.
SECTIONS = ("book", "accounts", "strategies", "attribution", "instruments", "risk", "operations", "changes")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
#: A mailbox, and nothing that would be more than one header or one recipient.
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")

RECIPIENTS_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "title": {"type": "str"},
    "addresses": {"type": "list", "elements": "str", "required": True},
    "sections": {"type": "list", "elements": "str", "required": True, "choices": list(SECTIONS)},
}
BENCHMARK_SPEC: Dict[str, Any] = {
    "instrument": {"type": "str"},
    "title": {"type": "str"},
    "reason": {"type": "str"},
}
#: Of drafting and of sending alike.
COMMON_SPEC: Dict[str, Any] = {
    "environment_name": {"type": "str", "required": True},
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "evidence": {"type": "dict", "required": True, "options": SIGNING_SPEC},
    "month": {"type": "str"},
    "title": {"type": "str", "default": "Performance report"},
    "recipients": {"type": "list", "elements": "dict", "required": True, "options": RECIPIENTS_SPEC},
}
SPEC: Dict[str, Any] = {
    **COMMON_SPEC,
    **BOOKS,
    "benchmark": {"type": "dict", "options": BENCHMARK_SPEC},
    "directory": {"type": "path"},
    "confidence": {"type": "float", "default": 0.95},
}


def checked(options: Dict[str, Any]) -> Dict[str, Any]:
    """Options that the argument spec cannot judge, with the days of the month as first and last.

    :raises ConfigurationError: they make no sense
    """
    if not 0.5 <= options["confidence"] < 1:
        raise ConfigurationError(
            "The confidence is not from 0.5 to below 1.", "Set stakeholder_report_confidence, as 0.95."
        )
    if options["days"] < 45:
        # The first day that is read only begins, and the month must be read whole.
        raise ConfigurationError("Fewer than 45 days are read.", "Raise stakeholder_report_days.")
    first, last = month_of(options["month"])
    benchmark = {key: value for key, value in (options["benchmark"] or {}).items() if value}
    if "instrument" in benchmark and "reason" in benchmark:
        raise ConfigurationError(
            "The benchmark has an instrument and a reason for having none.", "Leave one of them out."
        )
    return {
        **options,
        "first": first,
        "last": last,
        "tolerance": exact("of equity", options["tolerance"]),
        "benchmark": benchmark,
        "recipients": classes(options["recipients"]),
    }


def classes(given: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Classes of recipients, each once, with addresses that are some.

    :raises ConfigurationError: they are not
    """
    if not given:
        raise ConfigurationError("The report has no recipients.", "Set stakeholder_report_recipients.")
    names = [each["name"] for each in given]
    for each in given:
        name = printable(each["name"], 60)
        if not _NAME.fullmatch(each["name"]) or names.count(each["name"]) > 1:
            raise ConfigurationError(
                f"Recipients {name}: the name is not one of small letters, digits and dashes, or is there twice.",
                "Correct stakeholder_report_recipients.",
            )
        bad = [address for address in each["addresses"] if not ADDRESS.fullmatch(address)]
        if bad or not each["addresses"] or len(set(each["addresses"])) < len(each["addresses"]):
            shown = (
                f"{printable(bad[0], 80)} is no mail address" if bad else "there is no address, or one is there twice"
            )
            raise ConfigurationError(f"Recipients {name}: {shown}.", "Correct stakeholder_report_recipients.")
        if not each["sections"]:
            raise ConfigurationError(f"Recipients {name} see nothing.", f"Give sections of {', '.join(SECTIONS)}.")
    return [{**each, "sections": [name for name in SECTIONS if name in each["sections"]]} for each in given]


def month_of(text: Any) -> Tuple[date, date]:
    """The first and last day of a month, by default of the last one that is over.

    :raises ConfigurationError: it is none
    """
    if not text:
        last = datetime.now(timezone.utc).date().replace(day=1) - timedelta(days=1)
        return last.replace(day=1), last
    found = _MONTH.fullmatch(text)
    if not found or not 1 <= int(found[2]) <= 12 or int(found[1]) < 1970:
        raise ConfigurationError(
            f"The month is none: {printable(text, 40)}.", "Write stakeholder_report_month as YYYY-MM, or leave it out."
        )
    year, number = int(found[1]), int(found[2])
    return date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1])
