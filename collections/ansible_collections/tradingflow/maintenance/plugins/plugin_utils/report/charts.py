# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Charts of an action's details as inline SVG. Texts stand beside the drawing: they keep their size on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

from .stay import stay
from .words import clean, number

WIDTH, HEIGHT, LOW = 1000, 200, 90
#: What is drawn at most; the rest is in report.json.
MOST_POINTS, MOST_NAMES, MOST_CHARTS = 2000, 40, 10


def charts(details: dict[str, Any]) -> list[Markup]:
    """The drawings of {"charts": [{"kind": "equity", ...}, ...]}; what is no such thing is left out."""
    given = details.get("charts")
    found = []
    for chart in given[:MOST_CHARTS] if isinstance(given, list) else []:
        draw = KINDS.get(str(chart.get("kind"))) if isinstance(chart, dict) else None
        try:
            inner = draw(chart) if draw else None
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
            inner = None
        if inner:
            title = escape(clean(chart.get("title"), 120, one_line=True))
            found.append(Markup('<figure class="chart"><figcaption>{}</figcaption>{}</figure>').format(title, inner))
    return found


def _numbers(values: Any) -> list[float]:
    """:raises ValueError: one is no number"""
    if not isinstance(values, list) or not 2 <= len(values) <= MOST_POINTS:
        raise ValueError("too few or too many")
    found = [None if isinstance(value, str) else number(value) for value in values]
    if any(value is None for value in found):
        raise ValueError("no number")
    return [value for value in found if value is not None]


def _ends(chart: dict[str, Any]) -> Markup:
    first, last = (clean(chart.get(key), 10, one_line=True) for key in ("from", "to"))
    return Markup('<p class="ends"><span>{}</span><span>{}</span></p>').format(first, last)


def _panel(drawn: str, high: str, low: str, label: str, height: int) -> Markup:
    """A drawing with the values of its upper and lower edge."""
    return Markup(
        '<div class="panel"><p class="edges"><span>{}</span><span>{}</span></p>'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}" style="height:{}px">'
    ).format(high, low, WIDTH, height, label, height) + Markup(drawn + "</svg></div>")  # noqa: S704 -- our own numbers


def _scale(values: list[float], low: float, high: float, size: float, *, down: bool = False) -> list[float]:
    length = (high - low) or 1.0
    placed = [size * (value - low) / length for value in values]
    return [round(size - value if down else value, 1) for value in placed]


def _path(across: list[float], along: list[float]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in zip(across, along, strict=True))


def _equity(chart: dict[str, Any]) -> Markup:
    at, growth, depth = (_numbers(chart[key]) for key in ("at", "growth", "depth"))
    across = _scale(at, at[0], at[-1], WIDTH)
    low, high = min(growth), max(growth)
    one = _scale([1.0], low, high, HEIGHT, down=True)[0]
    line = _path(across, _scale(growth, low, high, HEIGHT, down=True))
    upper = f'<path class="axis" d="M0 {one:g}H{WIDTH}"/><path class="line" d="{line}"/>'
    worst = min(depth)
    under = _path(across, _scale(depth, worst, 0.0, LOW, down=True))
    lower = f'<path class="under" d="{under}L{WIDTH} 0L0 0Z"/>'
    return (
        _panel(upper, f"{high:.3f}", f"{low:.3f}", f"Growth of 1, now {growth[-1]:.3f}", HEIGHT)
        + _panel(lower, "0 %", f"{100 * worst:.1f} %", f"Drawdown, now {100 * depth[-1]:.1f} %", LOW)
        + _ends(chart)
    )


def _band(chart: dict[str, Any]) -> Markup:
    points = [_numbers(point) for point in chart["points"][:MOST_POINTS]]
    at, lows, values, highs = (list(column) for column in zip(*points, strict=True))
    across = _scale(at, at[0], at[-1], WIDTH)
    low, high = min(0.0, *lows), max(0.0, *highs)
    zero = _scale([0.0], low, high, HEIGHT, down=True)[0]
    upper, lower = (_scale(edge, low, high, HEIGHT, down=True) for edge in (highs, lows))
    band = f"{_path(across, upper)}L{_path(across[::-1], lower[::-1])[1:]}Z"
    line = _path(across, _scale(values, low, high, HEIGHT, down=True))
    drawn = (
        f'<path class="band" d="{band}"/><path class="axis" d="M0 {zero:g}H{WIDTH}"/><path class="line" d="{line}"/>'
    )
    label = f"Now {values[-1]:.2f}, between {lows[-1]:.2f} and {highs[-1]:.2f}"
    return _panel(drawn, f"{high:.1f}", f"{low:.1f}", label, HEIGHT) + _ends(chart)


def _heatmap(chart: dict[str, Any]) -> Markup:
    names = [clean(name, 60, one_line=True) for name in chart["names"][:MOST_NAMES]]
    rows = [_numbers(row[: len(names)]) for row in chart["rows"][: len(names)]]
    if len(rows) != len(names) or any(len(row) != len(names) for row in rows):
        raise ValueError("not a square")
    size, drawn = 10 * (len(names) + 1), []
    for place in range(len(names)):
        middle = 10 * place + 15
        drawn.append(
            f'<text x="5" y="{middle + 1.4:g}">{place + 1}</text><text x="{middle}" y="6.4">{place + 1}</text>'
        )
    for down, row in enumerate(rows):
        for across, value in enumerate(row):
            sign, strength = ("minus" if value < 0 else "plus"), min(abs(value), 1.0)
            x, y = 10 * across + 10, 10 * down + 10
            told = escape(f"{names[down]} and {names[across]}: {value:.2f}")
            drawn.append(
                f'<rect class="{sign}" x="{x}" y="{y}" width="9.6" height="9.6" fill-opacity="{strength:.2f}">'
                f"<title>{told}</title></rect>"
            )
            if across != down and len(names) <= 15:
                strong = ' class="on"' if strength > 0.6 else ""
                drawn.append(f'<text{strong} x="{x + 4.8:g}" y="{y + 6.1:g}">{value:.2f}</text>'.replace("0.", "."))
    listed = Markup("").join(Markup("<li>{}</li>").format(name) for name in names)
    return (
        Markup('<svg class="heat" viewBox="0 0 {0} {0}" role="img" aria-label="Correlation of {1}">').format(
            size, f"{len(names)} strategies"
        )
        + Markup(  # noqa: S704 -- numbers, and names that are escaped
            "".join(drawn) + "</svg>"
        )
        + Markup('<ol class="names">{}</ol>').format(listed)
    )


def _shares(chart: dict[str, Any]) -> Markup:
    rows = []
    bars = [(clean(name, 60, one_line=True), _numbers([risk, weight])) for name, risk, weight in chart["bars"]]
    bars = bars[:MOST_NAMES]
    longest = max(abs(value) for _name, pair in bars for value in pair)
    for name, (risk, weight) in bars:
        drawn = Markup(
            '<svg class="span" viewBox="0 0 {} 10" preserveAspectRatio="none" aria-hidden="true">'
            '<rect class="{}" width="{:.1f}" height="6"/><rect class="held" y="7" width="{:.1f}" height="3"/></svg>'
        ).format(WIDTH, "minus" if risk < 0 else "work", WIDTH * abs(risk) / longest, WIDTH * abs(weight) / longest)
        rows.append(
            Markup('<tr><th scope="row">{}</th><td>{}</td><td class="num">{:.0f} % · {:.0f} %</td></tr>').format(
                name, drawn, 100 * risk, 100 * weight
            )
        )
    return Markup('<table class="phases shares"><tbody>{}</tbody></table>').format(Markup("").join(rows))


def _exceptions(chart: dict[str, Any]) -> Markup:
    """Results of sessions as a line, what they might lose at most as another below, and bars down to what was worse."""
    results, bounds = (_numbers(chart[key]) for key in ("results", "bounds"))
    hits = [int(place) for place in chart["hits"][:MOST_POINTS]]
    if len(results) != len(bounds) or any(not 0 <= place < len(results) for place in hits):
        raise ValueError("not of the same sessions")
    across = _scale([float(place) for place in range(len(results))], 0.0, len(results) - 1.0, WIDTH)
    low, high = min(0.0, *results, *bounds), max(0.0, *results)
    zero = _scale([0.0], low, high, HEIGHT, down=True)[0]
    came, said = (_scale(values, low, high, HEIGHT, down=True) for values in (results, bounds))
    drawn = f'<path class="band" d="{_path(across, said)}L{WIDTH} {zero:g}L0 {zero:g}Z"/>'
    drawn += f'<path class="axis" d="M0 {zero:g}H{WIDTH}"/><path class="line" d="{_path(across, came)}"/>'
    for place in hits:
        # From what was forecast down to what came.
        drawn += f'<rect class="hit" x="{across[place] - 3:g}" y="{said[place]:g}" width="6" '
        drawn += f'height="{max(6.0, came[place] - said[place]):g}"/>'
    label = f"{len(results)} sessions, {len(hits)} below value at risk"
    return _panel(drawn, f"{100 * high:.1f} %", f"{100 * low:.1f} %", label, HEIGHT) + _ends(chart)


def _compared(chart: dict[str, Any]) -> Markup:
    """A line as it is now, and dashed as it was then, on the same days."""
    lines = [[_numbers(point) for point in chart[key]] for key in ("then", "now") if chart.get(key)]
    if any(not 2 <= len(line) <= MOST_POINTS or any(len(point) != 2 for point in line) for line in lines):
        raise ValueError("no lines")
    every = [point for line in lines for point in line]
    ats, values = ([point[place] for point in every] for place in (0, 1))
    low, high = min(values), max(values)
    drawn = ""
    for name, line in zip(("then", "line") if len(lines) == 2 else ("line",), lines, strict=True):
        across = _scale([point[0] for point in line], min(ats), max(ats), WIDTH)
        along = _scale([point[1] for point in line], low, high, HEIGHT, down=True)
        drawn += f'<path class="{name}" d="{_path(across, along)}"/>'
    label = f"Now {lines[-1][-1][1]:.3f}"
    label += f"; dashed: the refresh before, to {lines[0][-1][1]:.3f}" if len(lines) == 2 else "; no refresh before"
    told = Markup('<p class="evidence">{}</p>').format(label)
    return _panel(drawn, f"{high:.3f}", f"{low:.3f}", label, HEIGHT) + _ends(chart) + told


def _changes(chart: dict[str, Any]) -> Markup:
    """Of each name a bar as it is now, and a thin one as it was before."""
    unit = clean(chart["unit"], 10, one_line=True)
    bars = [(clean(name, 60, one_line=True), _numbers([then, now])) for name, then, now in chart["bars"]][:MOST_NAMES]
    longest = max((value for _name, pair in bars for value in pair), default=0.0)
    if longest <= 0 or any(value < 0 for _name, pair in bars for value in pair):
        raise ValueError("no bars")
    rows = []
    for name, (then, now) in bars:
        drawn = Markup(
            '<svg class="span" viewBox="0 0 {} 10" preserveAspectRatio="none" aria-hidden="true">'
            '<rect class="work" width="{:.1f}" height="6"/><rect class="held" y="7" width="{:.1f}" height="3"/></svg>'
        ).format(WIDTH, WIDTH * now / longest, WIDTH * then / longest)
        rows.append(
            Markup('<tr><th scope="row">{}</th><td>{}</td><td class="num">{:.3g} → {:.3g} {}</td></tr>').format(
                name, drawn, then, now, unit
            )
        )
    return Markup('<table class="phases shares"><tbody>{}</tbody></table>').format(Markup("").join(rows))


KINDS: dict[str, Callable[[dict[str, Any]], Markup]] = {
    "equity": _equity,
    "band": _band,
    "exceptions": _exceptions,
    "heatmap": _heatmap,
    "shares": _shares,
    "compared": _compared,
    "changes": _changes,
    "stay": stay,
}
