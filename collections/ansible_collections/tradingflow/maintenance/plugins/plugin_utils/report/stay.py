# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The soak of a release on one axis of time: intervals that were healthy, held or failed; and what happened."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from .words import clean, duration

WIDTH = 1000
#: What is drawn at most; the rest is in report.json.
MOST_INTERVALS, MOST_EVENTS = 400, 40
#: How an interval is drawn; what is none of these is drawn as one that nobody knows of.
DRAWN = {"healthy": "work", "inconclusive": "wait", "failed": "gone"}


def stay(chart: dict[str, Any]) -> Markup:
    """The drawing and its list of events.

    :param chart: {"intervals": [{"since", "until", "verdict", "reasons"}], "events": [{"at", "kind", "text"}]}
    :raises ValueError: there is nothing to draw, or it is no such thing
    """
    intervals = [
        (_at(each["since"]), _at(each["until"]), str(each["verdict"])) for each in chart["intervals"][-MOST_INTERVALS:]
    ]
    events = [each for each in chart["events"][-MOST_EVENTS:] if isinstance(each, dict)]
    rows = Markup("").join(
        Markup("<tr><td>{}</td><td>{}</td><td>{}</td></tr>").format(
            clean(each["at"], 20, one_line=True).replace("T", " ").rstrip("Z"),
            clean(each["kind"], 20, one_line=True).replace("_", " "),
            clean(each["text"], 300, one_line=True),
        )
        for each in events
    )
    listed = Markup('<table class="stay"><tbody>{}</tbody></table>').format(rows)
    if not intervals:
        return listed
    begins, ends = intervals[0][0], max(end for _begin, end, _verdict in intervals)
    if ends <= begins:
        raise ValueError("no time passes")
    drawn = Markup("").join(_rectangle(each, begins, ends - begins) for each in intervals)
    seconds = {name: sum(end - begin for begin, end, verdict in intervals if verdict == name) for name in DRAWN}
    label = ", ".join(f"{duration(value)} {name}" for name, value in seconds.items() if value)
    return (
        Markup(
            '<svg class="span stay" viewBox="0 0 {} 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
        ).format(WIDTH, label, drawn)
        + Markup('<p class="ends"><span>{}</span><span>{}</span></p>').format(_told(begins), _told(ends))
        + Markup('<p class="evidence">{}</p>').format(label)
        + listed
    )


def _at(text: Any) -> float:
    return datetime.fromisoformat(str(text)).timestamp()


def _told(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _rectangle(interval: tuple[float, float, str], begins: float, length: float) -> Markup:
    since, until, verdict = interval
    # However short it was, it is to be seen.
    x, width = WIDTH * (since - begins) / length, max(2.0, WIDTH * (until - since) / length)
    return Markup('<rect class="{}" x="{:.1f}" width="{:.1f}" height="10"/>').format(
        DRAWN.get(verdict, "wait"), min(x, WIDTH - width), width
    )
