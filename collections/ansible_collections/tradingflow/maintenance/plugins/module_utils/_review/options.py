# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a strategy review may be told."""

from __future__ import annotations

import math
from datetime import date
from typing import Any, Dict

from .._checks.trading import exact
from .._performance.options import SPEC as BOOKS
from ..checks import thresholds_spec
from ..errors import ConfigurationError
from ..words import printable

#: More trials than anyone makes are a slip.
MOST_TRIALS = 10**15

SPEC: Dict[str, Any] = {
    **BOOKS,
    "until": {"type": "str"},
    "confidence": {"type": "float", "default": 0.95},
    "minimum_sessions": {"type": "int", "default": 60},
    "target": {"type": "float", "default": 0.0},
    "trials": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "strategy": {"type": "str", "required": True},
            "trials": {"type": "int", "required": True},
            "variance": {"type": "float"},
        },
    },
    "drawdown_limits": {"type": "dict", "default": {}},
    "paths": {"type": "int", "default": 1000},
    "expectations": {"type": "list", "elements": "str", "default": []},
    "thresholds": thresholds_spec(
        {
            "sharpe": (0, None),
            "drawdown": (10, 20),
            "drawdown_percentile": (95, None),
            "drawdown_sessions": (None, None),
            "restated": (1, None),
            "correlation": (0.9, None),
            "risk_share": (50, None),
            "concentration": (50, None),
            "participation": (10, None),
            "residual": (0.5, None),
            "drift": (5, None),
        }
    ),
}


def checked(options: Dict[str, Any]) -> Dict[str, Any]:
    """Options that the argument spec cannot judge.

    :raises ConfigurationError: they make no sense
    """
    if not 0.5 <= options["confidence"] < 1:
        raise ConfigurationError(
            "The confidence is not from 0.5 to below 1.", "Set strategy_review_confidence, as 0.95."
        )
    if not math.isfinite(options["target"]):
        raise ConfigurationError("The target is no number.", "Set strategy_review_target, in % per year.")
    for name, least in (("days", 2), ("minimum_sessions", 20), ("paths", 100), ("rate_age", 1)):
        if options[name] < least:
            raise ConfigurationError(f"The option {name} is below {least}.", f"Raise strategy_review_{name}.")
    try:
        until = date.fromisoformat(options["until"]) if options["until"] else None
    except ValueError:
        raise ConfigurationError(
            f"The last day of the review is no day: {printable(options['until'], 40)}.",
            "Write strategy_review_until as YYYY-MM-DD, or leave it out.",
        ) from None
    names = [each["strategy"] for each in options["trials"]]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"The trials of {printable(name)} are given twice.", "Remove one of them.")
    for each in options["trials"]:
        if not 1 <= each["trials"] <= MOST_TRIALS or (
            each["variance"] is not None and not 0 < each["variance"] < float("inf")
        ):
            raise ConfigurationError(
                f"The trials of {printable(each['strategy'])} make no sense.",
                f"Give 1 to {MOST_TRIALS} trials, and a variance above 0 or none.",
            )
    limits = {}
    for name, value in options["drawdown_limits"].items():
        try:
            limits[str(name)] = float(value)
        except (TypeError, ValueError):
            limits[str(name)] = float("nan")
        if not 0 < limits[str(name)] <= 100:
            raise ConfigurationError(
                f"The drawdown limit of {printable(name)} is no percentage.", "Write it as 15 for 15 %."
            )
    return {**options, "until": until, "tolerance": exact("of equity", options["tolerance"]), "drawdown_limits": limits}
