# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values, thresholds and times as people read them; text made harmless."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

#: No line break between a number and its unit.
NBSP = "\u00a0"

# Control characters but tab and newline; surrogates and non-characters no encoder takes; marks that reorder text.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069\u2028\u2029]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_BYTES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def clean(text: Any, limit: int = 0, *, one_line: bool = False) -> str:
    """Text that every form can carry: harmful characters become U+FFFD, what is beyond the limit a note.

    :param limit: longest result in characters, about; 0 is no limit
    """
    result = text if isinstance(text, str) else str(text)
    length = len(result)
    if limit and length > limit:
        result = f"{result[:limit].rstrip()} … ({length:,} characters in all)"
    if one_line:
        result = " ".join(result.split())
    return _FORBIDDEN.sub("\ufffd", result)


def scrub(value: Any, limit: int = 0) -> Any:
    """JSON data with all its text clean."""
    if isinstance(value, dict):
        return {clean(key, limit): scrub(item, limit) for key, item in value.items()}
    if isinstance(value, list):
        return [scrub(item, limit) for item in value]
    return clean(value, limit) if isinstance(value, str) else value


def moment(text: Any) -> datetime | None:
    """A time stamp as an aware datetime in UTC, None when it is none."""
    try:
        result = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (result if result.tzinfo else result.replace(tzinfo=UTC)).astimezone(UTC)


def number(value: Any, check: dict[str, Any] | None = None) -> float | None:
    """Value as a finite number; None when it is none. True is 1.

    A Decimal comes as a string: one counts as a number only where the check has a unit or a threshold,
    so that a version is not taken for one.
    """
    if isinstance(value, (bool, int, float)):
        result = float(value) if abs(value) < 1e300 else float("inf")
    elif isinstance(value, str) and len(value) < 60 and _NUMBER.fullmatch(value):
        if check and not (check["unit"] or check["warning"] is not None or check["critical"] is not None):
            return None
        result = float(value)
    else:
        return None
    return result if abs(result) < 1e300 else None


def digits(value: float) -> str:
    """A number with three significant digits or all of its integer ones, grouped by commas."""
    size = abs(value)
    if size == int(size) or size >= 1000:
        return f"{value:,.0f}"
    places = 1 if size >= 100 else 2 if size >= 10 else 3
    text = f"{value:.{places}f}" if size >= 0.01 else f"{value:.3g}"
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def size(value: float) -> str:
    """Bytes, e.g. 1.25 GB (decimal units)."""
    power = 0
    while abs(value) >= 999.5 and power < len(_BYTES) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g}{NBSP}{_BYTES[power]}"


def duration(seconds: float) -> str:
    """Seconds, e.g. 0.31 s, 42 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    if seconds < 1:
        # Less than a millisecond is still not nothing.
        return f"{sign}{digits(seconds * 1000)}{NBSP}ms" if seconds else f"0{NBSP}s"
    if seconds < 59.95:
        return f"{sign}{seconds:.3g}{NBSP}s"
    rest = round(seconds)
    for large, large_unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if rest >= large:
            first, second = divmod(rest, large)
            second //= small
            return f"{sign}{first:,}{NBSP}{large_unit}" + (f" {second}{NBSP}{small_unit}" if second else "")
    return f"{sign}{rest}{NBSP}s"


def quantity(value: Any, unit: str) -> str:
    """A value with its unit."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        # A Decimal keeps the digits it came with.
        if unit and _NUMBER.fullmatch(value):
            return f"{grouped(value)}{NBSP}{unit}"
        # A word, such as failed, has no unit.
        return f"{value}{NBSP}{unit}" if unit and any(each.isdigit() for each in value) else value
    if unit in ("bytes", "B", "byte"):
        return size(value)
    if unit in ("bytes/s", "B/s"):
        return f"{size(value)}/s"
    if unit in ("s", "seconds"):
        return duration(value)
    if unit == "ms":
        return duration(value / 1000)
    return f"{digits(value)}{NBSP}{unit}" if unit else digits(value)


def grouped(text: str) -> str:
    """A decimal number in text with its thousands grouped and no digit lost but zeros after the second decimal."""
    if len(text) > 40 or not _NUMBER.fullmatch(text) or "e" in text.lower():
        return text
    whole, point, rest = f"{Decimal(text):,f}".partition(".")
    return f"{whole}{point}{rest[:2]}{rest[2:].rstrip('0')}"


def examples(details: Any, most: int = 3) -> list[str]:
    """The first things that a check names in its details under "first", a line each: which ones, before any click."""
    first = details.get("first") if isinstance(details, dict) else None
    lines = []
    for item in (first if isinstance(first, list) else [])[:most]:
        if isinstance(item, dict):
            parts = (f"{name.replace('_', ' ')} {example(value)}" for name, value in item.items() if value is not None)
            lines.append(clean(" · ".join(parts), 300, one_line=True))
        else:
            lines.append(clean(item, 300, one_line=True))
    count = details.get("count") if lines else None
    if isinstance(count, int) and count > len(lines):
        lines.append(f"and {count - len(lines):,} more")
    return lines


def example(value: Any) -> str:
    """One value of such a thing."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = str(value)
    at = moment(text) if isinstance(value, str) and text[4:5] == "-" else None
    return when(text) if at else grouped(text) if isinstance(value, str) and "." in text else text


def is_below(check: dict[str, Any]) -> bool:
    """Whether the thresholds of a check are lower bounds, as far as its numbers tell."""
    value, warning, critical = (number(check[key]) for key in ("value", "warning", "critical"))
    if warning is not None and critical is not None and warning != critical:
        return critical < warning
    threshold = critical if critical is not None else warning
    if value is None or threshold is None or value == threshold:
        return False
    return (value < threshold) is (check["status"] in ("warning", "critical"))


def thresholds(check: dict[str, Any]) -> str:
    """The thresholds of a check, the worse one first, e.g. "critical from 95 %, warning from 80 %"; empty when none."""
    word = "at or below" if is_below(check) else "from"
    parts = []
    for status in ("critical", "warning"):
        bound = check[status]
        if bound is None or (status == "warning" and bound == check["critical"]):
            continue
        if number(bound) is None or isinstance(bound, bool):
            parts.append(f"{status}: {quantity(bound, '')}")
        else:
            parts.append(f"{status} {word} {quantity(bound, check['unit'])}")
    return ", ".join(parts)


def when(text: Any, today: datetime | None = None) -> str:
    """A time stamp for people: 20:40:30 UTC, with its date unless it is of the given day."""
    at = moment(text)
    if at is None:
        return clean(text, 40)
    if today and at.date() == today.date():
        return f"{at:%H:%M:%S}{NBSP}UTC"
    return f"{at.day}{NBSP}{at:%b %Y, %H:%M}{NBSP}UTC"


def counted(counts: dict[str, int], *, zeros: bool = False) -> str:
    """Counts in words, worst first, e.g. "1 critical, 12 ok"."""
    names = ("critical", "unknown", "warning", "ok")
    return ", ".join(f"{counts[name]:,} {name}" for name in names if counts[name] or zeros)


def plural(count: int, noun: str) -> str:
    """1 run, 2 runs."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
