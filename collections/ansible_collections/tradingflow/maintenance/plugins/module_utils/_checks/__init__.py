# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks of each area, one file per area. What they share is here."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Dict, Optional, Tuple

from ..errors import ConfigurationError

#: Name of a threshold -> (warning, critical); None for none.
Defaults = Dict[str, Tuple[Optional[float], Optional[float]]]


def thresholds_spec(defaults: Defaults) -> Dict[str, Any]:
    """Argument spec of an option "thresholds": {name: {warning, critical}}; what is left out has its default."""
    return {
        "type": "dict",
        "apply_defaults": True,
        "options": {name: limit_spec(warning, critical) for name, (warning, critical) in defaults.items()},
    }


def limit_spec(warning: Optional[float] = None, critical: Optional[float] = None) -> Dict[str, Any]:
    """Argument spec of one threshold."""
    pair = {"warning": warning, "critical": critical}
    options = {
        key: {"type": "float"} if value is None else {"type": "float", "default": value} for key, value in pair.items()
    }
    return {"type": "dict", "apply_defaults": True, "options": options}


def limits(thresholds: Dict[str, Any], name: str) -> Dict[str, Any]:
    """One threshold as keyword arguments of judge(): {"warning": ..., "critical": ...}, whole numbers as int.

    Infinity (.inf in YAML) means that there is no threshold.

    :raises ConfigurationError: NaN, which no value would ever reach
    """
    limit = thresholds.get(name) or {}
    result: Dict[str, Any] = {}
    for key in ("warning", "critical"):
        value = limit.get(key)
        if value is not None and math.isnan(value):
            raise ConfigurationError(
                f"The threshold {name}.{key} is not a number: {value}.", "Set a number, or .inf for no threshold."
            )
        if value is None or math.isinf(value):
            result[key] = None
        else:
            result[key] = int(value) if value == int(value) else value
    return result


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
