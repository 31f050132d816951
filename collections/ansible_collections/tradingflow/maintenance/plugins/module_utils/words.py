# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers, sizes, times and texts from outside, as messages say them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any


def printable(name: Any, length: int = 120) -> str:
    """A name from outside for ids and messages: control characters escaped, cut when too long, never empty."""
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(name))
    if len(text) > length:
        text = text[: length - 1] + "…"
    return text if text.strip() else "(blank)"


def plural(count: int, noun: str, nouns: str = "", *, none: str = "0") -> str:
    """How many of what, for people: 1 break, 2 breaks, 1,000 breaks.

    :param noun: of one, with its verb if need be: "execution is"
    :param nouns: of several, noun with an s by default
    :param none: what 0 is called, such as "No"
    """
    return f"{f'{count:,}' if count else none} {noun if count == 1 else nouns or f'{noun}s'}"


def amount(number: Any) -> str:
    """A Decimal for people: every digit that says something, such as 1,950,000.5; no zeros at its end, no exponent."""
    if not isinstance(number, Decimal) or not number.is_finite():
        return str(number)
    if number and abs(number.adjusted()) > 40:
        return f"{number:.6e}"
    text = format(number, ",f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def size(count: float) -> str:
    """Bytes for people, e.g. 3.4 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def span(seconds: float) -> str:
    """A duration for people, e.g. 45 s, 12 min, 3.5 h, 9 days."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if abs(seconds) < 120:
        return f"{seconds:.3g} s"
    if abs(seconds) < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if abs(seconds) < 172800 else f"{seconds / 86400:.0f} days"


def human(size: float) -> str:
    """Bytes for people, in powers of 1000 as everywhere in the report: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
