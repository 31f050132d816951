# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a validation of risk models may be told."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Dict, List

from .._checks.trading import exact
from .._performance.options import SPEC as BOOKS
from ..checks import thresholds_spec
from ..errors import ConfigurationError
from ..words import printable

#: What a shock may be of; one of them each.
TARGETS = ("instrument", "asset_class", "currency", "everything")

SPEC: Dict[str, Any] = {
    **BOOKS,
    "until": {"type": "str"},
    "levels": {"type": "list", "elements": "str", "default": ["0.99"]},
    "significance": {"type": "float", "default": 0.05},
    "minimum_power": {"type": "float", "default": 0.8},
    "alternative": {"type": "float", "default": 2.0},
    "clustering": {"type": "float", "default": 0.25},
    "minimum_sessions": {"type": "int", "default": 60},
    "reference_sessions": {"type": "int", "default": 500},
    "limit_days": {"type": "int", "default": 31},
    "volatility_days": {"type": "int", "default": 90},
    "scenarios": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "shocks": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "instrument": {"type": "str"},
                    "asset_class": {"type": "str"},
                    "currency": {"type": "str"},
                    "everything": {"type": "bool", "default": False},
                    "percent": {"type": "str"},
                    "deviations": {"type": "str"},
                },
            },
            "limits": {"type": "dict", "default": {}},
        },
    },
    "inventory": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "model": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "owner": {"type": "str", "required": True},
            "validated_on": {"type": "str"},
            "next_due_on": {"type": "str"},
        },
    },
    "validation_days": {"type": "int", "default": 365},
    "thresholds": thresholds_spec(
        {
            "forecasts_missing": (1, None),
            "forecasts_late": (None, 1),
            "reference_ratio": (0.5, None),
            "stress": (80, 100),
            "limit_breaches": (1, None),
            "limit_near": (50, None),
            "limit_unused": (10, None),
            "overdue": (1, 90),
        }
    ),
}


def checked(options: Dict[str, Any]) -> Dict[str, Any]:
    """Options that the argument spec cannot judge: days, levels, shocks and money are no text afterwards.

    :raises ConfigurationError: they make no sense
    """
    bounds = {"days": 2, "minimum_sessions": 20, "rate_age": 1, "reference_sessions": 60, "limit_days": 1}
    for name, least in {**bounds, "volatility_days": 21, "validation_days": 1}.items():
        if options[name] < least:
            raise ConfigurationError(f"The option {name} is below {least}.", f"Raise model_validation_{name}.")
    spans = {"significance": (0, 0.5), "minimum_power": (0, 1), "clustering": (0, 1), "alternative": (1, 100)}
    for name, (low, high) in spans.items():
        if not low < options[name] < high:
            raise ConfigurationError(
                f"The option {name} is not between {low} and {high}.", f"Correct model_validation_{name}."
            )
    return {
        **options,
        "role": "model_validation",
        "until": day("last day of the validation", options["until"]),
        "tolerance": exact("of equity", options["tolerance"]),
        "levels": _levels(options["levels"]),
        "ratio": Fraction(str(options["alternative"])),
        "scenarios": [_scenario(each, options["currency"]) for each in options["scenarios"]],
        "inventory": [
            {**each, **{name: day(f"{name} of a model", each[name]) for name in ("validated_on", "next_due_on")}}
            for each in options["inventory"]
        ],
    }


def day(what: str, text: Any) -> Any:
    """A day, None for none.

    :raises ConfigurationError: it is no day
    """
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigurationError(
            f"The {what} is no day: {printable(text, 40)}.", "Write it as YYYY-MM-DD, or leave it out."
        ) from None


def number(what: str, text: Any) -> Decimal:
    """An exact number.

    :raises ConfigurationError: it is none
    """
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ConfigurationError(f"{what} is no number: {printable(text, 40)}.", "Write it as text, such as '-12.5'.")
    return value


def _levels(given: List[str]) -> List[Decimal]:
    found = [number("A level of model_validation_levels", each) for each in given]
    if not found or len(set(found)) < len(found) or not all(Decimal("0.5") < each < 1 for each in found):
        raise ConfigurationError(
            "The levels are not different numbers between 0.5 and 1.", "Set model_validation_levels, such as ['0.99']."
        )
    return found


def _scenario(given: Dict[str, Any], currency: Any) -> Dict[str, Any]:
    """A scenario with exact numbers."""
    what = f"The scenario {printable(given['name'], 40)}"
    remedy = "Correct model_validation_scenarios."
    if not given["shocks"]:
        raise ConfigurationError(f"{what} has no shocks.", remedy)
    shocks = []
    for shock in given["shocks"]:
        targets = [name for name in TARGETS if shock[name]]
        sizes = [name for name in ("percent", "deviations") if shock[name] is not None]
        if len(targets) != 1 or len(sizes) != 1:
            raise ConfigurationError(
                f"{what}: a shock is of one of {', '.join(TARGETS)}, by percent or by deviations.", remedy
            )
        size = number(f"{what}: {sizes[0]}", shock[sizes[0]])
        if sizes[0] == "percent" and size < -100:
            raise ConfigurationError(f"{what}: no price falls by more than 100 %.", remedy)
        if targets[0] == "currency" and (sizes[0] != "percent" or shock["currency"] == currency):
            raise ConfigurationError(
                f"{what}: the shock of a currency is in percent, and of another than model_validation_currency.", remedy
            )
        shocks.append({"target": targets[0], "of": shock[targets[0]], "by": sizes[0], "size": size})
    twice = [(each["target"], each["of"]) for each in shocks]
    if len(set(twice)) < len(twice):
        raise ConfigurationError(f"{what} has two shocks of the same.", remedy)
    limits = {}
    for name, value in given["limits"].items():
        limit = number(f"{what}: the limit of {printable(name, 60)}", value)
        if limit <= 0 or not (name == "book" or name.startswith(("account/", "strategy/"))):
            raise ConfigurationError(
                f"{what}: its limits are losses above 0 of book, account/NAME or strategy/NAME.", remedy
            )
        limits[str(name)] = limit
    return {"name": given["name"], "shocks": shocks, "limits": limits}
