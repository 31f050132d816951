# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The statements of an action on one axis of time: when each ran, how long it waited, and the lock that it took."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from .words import clean, duration, number

#: Statements that are drawn: the longest, and all that waited or failed.
MOST = 40
#: Units of the drawing from its left to its right edge.
WIDTH = 1000
#: Shorter ones that locked nothing are alembic's own questions.
_SHORT = 0.05


@dataclass(frozen=True)
class Row:
    """One statement.

    :param group: its revision and attempt, when it is the first of these
    :param mode: the strongest lock that it took, in SQL's words
    :param took: how long it took in all
    """

    group: str
    sql: str
    mode: str
    took: str
    waited: str
    failed: bool
    drawn: Markup


@dataclass(frozen=True)
class Timeline:
    """A chart.

    :param left_out: how many statements are not drawn
    :param ends: how long the axis is
    """

    rows: list[Row]
    left_out: int
    ends: str


def timeline(details: dict[str, Any]) -> Timeline | None:
    """The chart of an action's details, None when they have no statements.

    From {"timeline": [{"revision": "b2", "attempt": 1, "sql": "ALTER …", "at": 0.1, "seconds": 2.0, "waited": 0.5,
    "mode": "AccessExclusiveLock", "ended": "done", "waits": [{"mode": …, "on": …}]}]}; what is no such thing is
    left out.
    """
    given = details.get("timeline")
    known = [item for item in given if _known(item)] if isinstance(given, list) else []
    ends = max((item["at"] + item["seconds"] for item in known), default=0.0)
    begins = min((item["at"] for item in known), default=0.0)
    if not known or ends <= begins:
        return None
    worth = [item for item in known if item["seconds"] >= _SHORT or item["waited"] or _locks(item) or _failed(item)]
    worth.sort(key=lambda item: (not _failed(item), not item["waited"], -item["seconds"]))
    drawn = sorted(worth[:MOST], key=lambda item: item["at"])
    rows, group = [], ""
    for item in drawn:
        attempt = number(item.get("attempt")) or 1
        mine = clean(item.get("revision"), 40, one_line=True) + (f", attempt {attempt:.0f}" if attempt > 1 else "")
        rows.append(_row(item, "" if mine == group else mine, begins, ends - begins))
        group = mine
    return Timeline(rows, len(known) - len(drawn), duration(ends - begins))


def _known(item: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("sql"), str):
        return False
    values = [number(item.get(key)) for key in ("at", "seconds", "waited")]
    return all(
        value is not None and value >= 0 and not isinstance(item[key], str)
        for key, value in zip(("at", "seconds", "waited"), values, strict=True)
    )


def _failed(item: dict[str, Any]) -> bool:
    return item.get("ended") != "done"


def _locks(item: dict[str, Any]) -> bool:
    return item.get("mode") not in ("", "AccessShareLock", "RowShareLock")


def mode_words(mode: Any) -> str:
    """A lock's mode as SQL and the manual name it: ACCESS EXCLUSIVE for AccessExclusiveLock."""
    if mode is None:
        return "not seen"
    text = clean(mode, 40, one_line=True)
    if re.fullmatch(r"([A-Z][a-z]+)+Lock", text):
        return " ".join(re.findall(r"[A-Z][a-z]+", text.removesuffix("Lock"))).upper()
    return text or "none"


def _row(item: dict[str, Any], group: str, begins: float, length: float) -> Row:
    failed = _failed(item)
    waits = [wait for wait in item.get("waits") or [] if isinstance(wait, dict)]
    names = list(dict.fromkeys(clean(wait.get("on"), 80, one_line=True) for wait in waits))
    waited = duration(item["waited"]) if item["waited"] else ""
    if waited and names:
        waited += f" for {', '.join(names[:2])}"
    at, took = item["at"] - begins, item["seconds"]
    # Locks are waited for before the work: that is how it is drawn.
    wait = min(item["waited"], took)
    parts = [("wait", at, wait), ("gone" if failed else "work", at + wait, took - wait)]
    drawn = "".join(
        _rectangle(name, _scaled(start, length), _scaled(span, length))
        for name, start, span in parts
        if span > 0 or (name != "wait" and (failed or not wait))
    )
    return Row(
        group,
        clean(item["sql"], 300, one_line=True),
        mode_words(item.get("mode")),
        duration(took),
        waited,
        failed,
        Markup(  # noqa: S704 -- numbers and names of our own
            f'<svg class="span" viewBox="0 0 {WIDTH} 10" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'
        ),
    )


def _rectangle(name: str, x: float, width: float) -> str:
    # However short it was, it is to be seen; also at the right edge.
    width = max(width, 6.0 if name == "gone" else 3.0)
    return f'<rect class="{name}" x="{min(x, WIDTH - width)}" y="0" width="{width}" height="10"/>'


def _scaled(value: float, length: float) -> float:
    return round(WIDTH * value / length, 1)
