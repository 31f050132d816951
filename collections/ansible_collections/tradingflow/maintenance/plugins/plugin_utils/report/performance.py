# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The performance report of a month: one HTML page for a class of recipients, as it becomes a PDF."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import Any

from . import words
from .html import environment

#: Rows of a table that are told; the rest is counted.
MOST_ROWS = 200
SMALL = 1e-9


def page(data: dict[str, Any], recipients: dict[str, Any]) -> str:
    """The page. It has nothing that differs from one making to the next.

    :param data: see module_utils/_stakeholders/document.py
    :param recipients: name, title, sections
    """
    made = environment().overlay()
    made.filters.update(percent=percent, money=money, ratio=ratio, span=span, interval=interval)
    return made.get_template("performance.html.j2").render(
        data=words.scrub(data, 2000),
        recipients=recipients,
        sections=set(recipients["sections"]),
        rows=MOST_ROWS,
        waterfall=waterfall(data["attribution"]["contributions"]),
    )


def percent(value: Any, places: int = 2) -> str:
    """A share as people read it; a dash where it is undefined."""
    if value is None or isinstance(value, (str, bool)):
        return "–"
    return f"{value * 100:+.{places}f}{words.NBSP}%" if value else f"0{words.NBSP}%"


def ratio(value: Any) -> str:
    """A ratio, two digits."""
    return "–" if value is None or isinstance(value, (str, bool)) else f"{value:.2f}"


def interval(value: Any, share: bool = False) -> str:
    """Both ends of an interval; empty where there is none."""
    if not isinstance(value, list) or len(value) != 2 or None in value:
        return ""
    low, high = (percent(each, 1) if share else ratio(each) for each in value)
    return f"{low} to {high}"


def money(value: Any) -> str:
    """An exact amount, to the cent, in groups of three."""
    if value is None:
        return "–"
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return "–"
    return f"{amount:,.2f}" if amount.is_finite() else "–"


def span(seconds: Any) -> str:
    """A time that was taken."""
    return words.duration(float(seconds))


def waterfall(contributions: dict[str, float]) -> list[dict[str, Any]]:
    """Bars of contributions, the largest first: name, share, and place and width in % of the axis."""
    given = {name: value for name, value in contributions.items() if abs(value) > SMALL}
    if not given:
        return []
    ordered = sorted(given.items(), key=lambda item: (-abs(item[1]), item[0]))
    if len(ordered) > MOST_ROWS:
        rest = ordered[MOST_ROWS - 1 :]
        given = dict(ordered[: MOST_ROWS - 1])
        given[f"{len(rest)} smaller ones"] = math.fsum(value for _name, value in rest)
    low, high = min(0.0, *given.values()), max(0.0, *given.values())
    length = high - low
    return [
        {
            "name": name,
            "value": value,
            "left": round(100 * (min(0.0, value) - low) / length, 2),
            "width": round(100 * abs(value) / length, 2),
        }
        for name, value in sorted(given.items(), key=lambda item: (-item[1], item[0]))
    ]
