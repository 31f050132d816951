# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A check over the last runs as a small inline SVG."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape

from ...module_utils.checks import STATUSES
from .words import number, plural, quantity

WIDTH, HEIGHT, EDGE = 132, 30, 4


def sparkline(points: list[dict[str, Any] | None]) -> Markup:
    """The values of a check over the runs, oldest first, as SVG; empty unless two of them are numbers.

    A point's form tells its status as its colour does: dot ok, triangle warning, square critical, ring unknown. A run
    without the check is a gap in the line.
    """
    values = [number(point["value"], _bounded(point)) if point else None for point in points]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup("")
    last = next(point for point in reversed(points) if point)
    low, high = min(known), max(known)
    bounds = {}
    for status in ("warning", "critical"):
        bound = number(last.get(status))
        # A threshold far off would flatten the line, and says nothing that the text does not.
        if bound is not None and low - (high - low or abs(low)) <= bound <= high + (high - low or abs(high)):
            bounds[status] = bound
    low, high = min([low, *bounds.values()]), max([high, *bounds.values()])
    step = (WIDTH - 2 * EDGE) / max(1, len(points) - 1)

    def x(place: int) -> str:
        return f"{EDGE + place * step:.1f}".removesuffix(".0")

    def y(value: float) -> str:
        part = 0.5 if high == low else (high - value) / (high - low)
        return f"{EDGE + part * (HEIGHT - 2 * EDGE):.1f}".removesuffix(".0")

    line, pen = "", "M"
    marks: dict[str, str] = {}
    for place, (point, value) in enumerate(zip(points, values, strict=True)):
        if point is None or value is None:
            pen = "M"
            if point:
                marks["unknown"] = marks.get("unknown", "") + f"M{x(place)} {HEIGHT - EDGE - 2}a2 2 0 1 0 .1 0z"
            continue
        line += f"{pen}{x(place)} {y(value)}"
        pen = "L"
        status = point["status"]
        if status != "ok" or place == len(points) - 1:
            marks[status] = marks.get(status, "") + f"M{x(place)} {y(value)}" + _FORMS[status]
    drawn = "".join(f'<path class="t {status}" d="M0 {y(bound)}H{WIDTH}"/>' for status, bound in bounds.items())
    drawn += f'<path class="l" d="{line}"/>'
    drawn += "".join(f'<path class="m {status}" d="{path}"/>' for status, path in marks.items())
    label = escape(_label([point for point in points if point], known, last))
    return Markup(  # noqa: S704 -- numbers, names of statuses and an escaped label
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"'
        f' aria-label="{label}"><title>{label}</title>{drawn}</svg>'
    )


def bars(statuses: list[str | None]) -> Markup:
    """The worst status of each run, oldest first, as bars: the worse, the taller. Empty unless there are two."""
    if sum(status is not None for status in statuses) < 2:
        return Markup("")
    marks: dict[str, str] = {}
    for place, status in enumerate(statuses):
        if status:
            height = 4 * (STATUSES.index(status) + 1)
            marks[status] = marks.get(status, "") + f"M{place * 6} 16v-{height}h4v{height}z"
    drawn = "".join(f'<path class="{status}" d="{path}"/>' for status, path in marks.items())
    counts = (f"{statuses.count(status)} {status}" for status in reversed(STATUSES) if status in statuses)
    label = f"Last {plural(len(statuses), 'run')}: {', '.join(counts)}"
    width = len(statuses) * 6 - 2
    return Markup(  # noqa: S704 -- numbers and names of statuses
        f'<svg class="bars" viewBox="0 0 {width} 16" width="{width}" height="16" role="img"'
        f' aria-label="{label}"><title>{label}</title>{drawn}</svg>'
    )


#: Each status' form around the current point.
_FORMS = {
    "ok": "m-2.2 0a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0-4.4 0z",
    "warning": "m0-3.4l3.2 5.6h-6.4z",
    "unknown": "m-2.2 0a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0-4.4 0z",
    "critical": "m-2.7-2.7h5.4v5.4h-5.4z",
}


def _bounded(point: dict[str, Any]) -> dict[str, Any]:
    return {"unit": "", "warning": None, "critical": None, **point}


def _label(points: list[dict[str, Any]], known: list[float], last: dict[str, Any]) -> str:
    unit = last["unit"]
    text = f"Last {plural(len(points), 'run')}: {quantity(min(known), unit)} to {quantity(max(known), unit)}"
    for status in reversed(STATUSES[1:]):
        count = sum(point["status"] == status for point in points)
        if count:
            text += f", {count} {status}"
    return text
