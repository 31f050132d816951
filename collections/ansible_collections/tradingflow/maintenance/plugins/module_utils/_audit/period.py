# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The period of a bundle: half-open, in UTC, and over."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from ..errors import ConfigurationError
from .collected import Period, parsed, written

_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def period(begin: str, end: str, month: str, zone: str, now: datetime) -> Period:
    """From two times or days, or a month; the previous month when nothing is given.

    :param zone: in which days and months are meant, e.g. UTC or Europe/Berlin
    :raises ConfigurationError: it makes no sense, or is not over
    """
    place = zone_of(zone, "audit_collection_timezone")
    if bool(begin) != bool(end) or (begin and month):
        raise ConfigurationError(
            "A period needs both its ends, or a month, not a mixture.",
            "Set audit_collection_from and audit_collection_to, or audit_collection_month.",
        )
    if begin:
        first, last = _time(begin, place), _time(end, place)
    else:
        first, last = _month(month or _previous(now.astimezone(place)), place)
    if first >= last:
        raise ConfigurationError(
            f"The period ends at {written(last)}, not after its begin {written(first)}.",
            "Correct audit_collection_from and audit_collection_to.",
        )
    if last > now:
        raise ConfigurationError(
            f"The period ends at {written(last)}, and it is {written(now)}: what is not over is not evidence.",
            "Wait until it is over, or name one that is.",
        )
    return Period(written(first), written(last))


def unsettled(of: Period, settle: int, now: float) -> str:
    """Why what is written late may be missing, empty when the period ended long enough ago.

    :param settle: seconds after its end until logs are whole
    :param now: when collecting began, in seconds since 1970
    """
    end = of.epochs()[1]
    if now >= end + settle:
        return ""
    after = written(datetime.fromtimestamp(end + settle, timezone.utc))
    ago = max(0, int(now - end)) // 60
    return f"the period ended {ago} min ago, and logs may still be written: collect again after {after}"


def twice(at: str, zone: str) -> bool:
    """Whether a moment is of an hour that a zone's clocks show twice.

    :raises ConfigurationError: there is no such zone
    """
    local = parsed(at).astimezone(zone_of(zone, "timezone of the table"))
    return bool(local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset())


def compact(text: str) -> str:
    """A time of collected.json as a name has it: 20261001T000000Z."""
    return text.replace("-", "").replace(":", "")


def zone_of(name: str, option: str) -> Any:
    """:raises ConfigurationError: there is no such zone"""
    # Only the controller has it: hosts may run on an older Python.
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(
            f"{str(name)[:60]!r} is no time zone.", f"Name one as Europe/Berlin in {option}."
        ) from None


def _time(text: str, zone: Any) -> datetime:
    found: Optional[datetime] = None
    try:
        if _DAY.fullmatch(text):
            found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone)
        else:
            found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        pass
    if found is None or found.tzinfo is None or found.microsecond:
        raise ConfigurationError(
            f"{text[:60]!r} is neither a day such as 2026-10-01 nor a time such as 2026-10-01T00:00:00Z.",
            "Correct audit_collection_from and audit_collection_to.",
        )
    return found.astimezone(timezone.utc)


def _previous(now: datetime) -> str:
    return (now.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")


def _month(text: str, zone: Any) -> "tuple[datetime, datetime]":
    match = _MONTH.fullmatch(text)
    if not match or not 1 <= int(match[2]) <= 12 or not 1970 <= int(match[1]) <= 9998:
        raise ConfigurationError(f"{text[:60]!r} is not a month such as 2026-10.", "Correct audit_collection_month.")
    year, month = int(match[1]), int(match[2])
    first = datetime(year, month, 1, tzinfo=zone)
    last = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
    return first.astimezone(timezone.utc), last.astimezone(timezone.utc)
