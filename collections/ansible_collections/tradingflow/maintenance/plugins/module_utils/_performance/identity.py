# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The books first: equity of a day is that of the day before, its result and its flow, to the last digit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .._checks.risk import EXACT
from ..words import plural, printable
from .columns import Day as Day  # pylint: disable=useless-import-alias
from .columns import Days, Rows, decimal, fitting, integers, ordinals, scale_of

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

Row = Mapping[str, Any]

#: Seconds by which clocks may differ before a time counts as one of the future.
AHEAD = 5
#: What is written in the last seconds of a day is of the whole day.
LAST_MINUTE = 60
#: Break or reason that is shown; the rest is counted.
SHOWN = 3
#: 1970-01-01, as days since year 1.
EPOCH = 719163


@dataclass
class Track:
    """What is known of a strategy's equity.

    :param days: in order, without the last one that is not over
    :param breaks: days on which the identity does not hold, and by how much
    :param doubts: why it cannot be relied on besides
    :param partial: the last day, which is not over and left out
    :param inside: whether it began before its first day: then that day's result does not count
    :param known: months that were computed before, by their last day
    """

    strategy: str
    currency: str = ""
    days: Sequence[Day] = field(default_factory=list)
    breaks: List[Tuple[date, Decimal]] = field(default_factory=list)
    doubts: List[str] = field(default_factory=list)
    partial: Optional[date] = None
    inside: bool = False
    known: Dict[Any, Dict[str, List[str]]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def sound(self) -> bool:
        """Whether figures may be computed of it."""
        return bool(self.days) and not self.breaks and not self.doubts


def follow(
    strategy: str,
    rows: Iterable[Row],
    flows: Optional[Mapping[date, Decimal]] = None,
    *,
    now: float,
    capital: Optional[Decimal] = None,
    cut: bool = False,
    tolerance: Decimal = Decimal(0),
) -> Track:
    """A strategy's days, in order, and what is wrong with them.

    :param rows: day, currency, equity, pnl, fees, as_of (seconds since 1970), in any order
    :param flows: what was put in or taken out at the start of a day; a day without one had none
    :param capital: what the first day began with, None when nobody tells
    :param cut: whether there are earlier days that were not read: then the first one only begins
    :param tolerance: by how much equity may differ
    """
    if isinstance(rows, Rows):
        quick = _quick(Track(strategy), rows, flows or {}, now, None if cut else capital, tolerance)
        if quick:
            return quick
    track = Track(strategy)
    given = [row for row in rows if not _odd(row, track, now)]
    given.sort(key=lambda row: row["day"])
    days = [row["day"] for row in given]
    twice = sorted({day for place, day in enumerate(days[1:]) if day == days[place]})
    if twice:
        track.doubts.append(f"the view has {_days(twice)} twice")
        return track
    currencies = sorted({printable(row["currency"] or "none", 20) for row in given})
    if len(currencies) > 1 or (given and not given[0]["currency"]):
        track.doubts.append(f"its currency is not one: {', '.join(currencies)}")
        return track
    track.currency = given[0]["currency"] if given else ""
    # A day that is over and was never written to its end hides how it ended.
    if given and _early(given[-1]) and now < _ends(given[-1]["day"]):
        track.partial = given.pop()["day"]
    early = [row["day"] for row in given if _early(row)]
    if early:
        track.doubts.append(f"not over when written: {_days(early)}")
    if not given and not track.doubts:
        track.doubts.append("it has no whole day of equity")
    # More digits than Decimal keeps by itself: what is cut off nobody would miss.
    with localcontext(EXACT):
        _chain(track, given, dict(flows or {}), capital, cut, tolerance)
    track.days = Days.of(track.days)
    return track


def _quick(
    track: Track, rows: Rows, flows: Mapping[date, Decimal], now: float, capital: Optional[Decimal], tolerance: Decimal
) -> Optional[Track]:
    """The same of columns; None when something about them must be looked at row by row.

    :param capital: None when the first day only begins
    """
    numbers = [*flows.values(), tolerance, *([] if capital is None else [capital])]
    begins = (rows.ordinals - EPOCH) * 86400.0
    if not all(_number(value) for value in numbers) or not len(begins):
        return None
    if (rows.as_of < begins + 86400 - LAST_MINUTE).any() or (rows.as_of > now + AHEAD).any():
        return None
    if rows.later:
        last = rows.later[0]
        if len(rows.later) > 1 or _odd(last, Track(""), now) or last["currency"] != rows.currency:
            return None
        if not _early(last) or now >= _ends(last["day"]) or last["day"].toordinal() <= rows.ordinals[-1]:
            return None
        track.partial = last["day"]
    track.currency, track.inside = rows.currency, capital is None
    fees = rows.fees or (0, np.zeros(len(begins), dtype=np.int64))
    scale = max(rows.equity[0], rows.pnl[0], fees[0], scale_of(numbers))
    equity, pnl, paid = (_grown(column, scale) for column in (rows.equity, rows.pnl, fees))
    flow = np.zeros(len(begins), dtype=object)
    for day, amount in flows.items():
        # A flow on a day without a row, such as of a weekend, is there when the next one begins.
        place = int(np.searchsorted(rows.ordinals, day.toordinal()))
        if place < len(flow):
            flow[place] += int(integers([amount], scale)[0])
    flow = fitting(flow)
    before = np.concatenate((integers([capital or Decimal(0)], scale), equity[:-1]))
    base = before + flow
    apart = equity - (base + pnl)
    start = 1 if capital is None else 0
    with localcontext(EXACT):
        least = int(tolerance.scaleb(scale))
    broken = np.flatnonzero(np.abs(apart) > least)
    track.breaks = [
        (date.fromordinal(int(rows.ordinals[place])), decimal(apart[place], scale))
        for place in broken.tolist()
        if place >= start
    ]
    known = np.full(len(begins), rows.fees is not None)
    days = Days(rows.ordinals, scale, equity, pnl, flow, fitting(base), paid, known)
    track.days = days.taken(slice(start, None))
    return track if len(track.days) else None


def _grown(column: Tuple[int, Any], scale: int) -> Any:
    """A column with more digits."""
    return column[1] if column[0] == scale else fitting(column[1].astype(object) * 10 ** (scale - column[0]))


def _odd(row: Row, track: Track, now: float) -> bool:
    """Whether a row says nothing; why is added to the doubts."""
    why = ""
    if not isinstance(row["day"], date):
        why = "a row without a day"
    elif row["as_of"] is None or not math.isfinite(row["as_of"]):
        why = f"no as_of on {row['day']}"
    elif row["as_of"] > now + AHEAD or _begins(row["day"]) > now + AHEAD:
        why = f"{row['day']} is of the future"
    elif row["as_of"] < _begins(row["day"]):
        why = f"as_of of {row['day']} is of an earlier day"
    elif any(not _number(row[name]) for name in ("equity", "pnl")) or not (row["fees"] is None or _number(row["fees"])):
        why = f"a number of {row['day']} is none"
    if why and len(track.doubts) < SHOWN:
        track.doubts.append(why)
    return bool(why)


def _early(row: Row) -> bool:
    """Whether a row was written before its day ended."""
    return bool(row["as_of"] < _ends(row["day"]) - LAST_MINUTE)


def _number(value: Any) -> bool:
    return isinstance(value, Decimal) and value.is_finite()


def _chain(
    track: Track,
    rows: Sequence[Row],
    flows: Dict[date, Decimal],
    capital: Optional[Decimal],
    cut: bool,
    tolerance: Decimal,
) -> None:
    """Each day from the one before, and the breaks between them."""
    if any(not _number(amount) for amount in flows.values()):
        track.doubts.append("a flow is no number")
        return
    if not cut and capital is not None and not _number(capital):
        track.doubts.append("its capital is no number")
        return
    before = None if cut else capital
    track.inside = before is None
    days: List[Day] = []
    for row in rows:
        # A flow on a day without a row, such as of a weekend, is there when the next one begins.
        flow = sum((flows.pop(day) for day in [day for day in flows if day <= row["day"]]), Decimal(0))
        if before is not None:
            apart = row["equity"] - (before + row["pnl"] + flow)
            if abs(apart) > tolerance:
                track.breaks.append((row["day"], apart))
            days.append(Day(row["day"], row["equity"], row["pnl"], flow, before + flow, row["fees"]))
        before = row["equity"]
    track.days = days
    if rows and not track.days and not track.doubts:
        track.doubts.append("it has one day of equity, and nobody tells what it began with")


def gaps(track: Track, sessions: Sequence[date], until: date, stopped: bool) -> List[date]:
    """Sessions of its market, from its first day on, of which there is no equity.

    :param sessions: in order
    :param until: the last day that is over
    :param stopped: whether it need not run: then it may have ended
    """
    if not track.days:
        return []
    there = Days.of(track.days).ordinals
    last = int(there[-1]) if stopped else until.toordinal()
    wanted = ordinals(sessions)
    wanted = wanted[(wanted > there[0]) & (wanted <= last)]
    return list(map(date.fromordinal, wanted[~np.isin(wanted, there)].tolist()))


def told(track: Track) -> str:
    """What is wrong, for people."""
    parts = [f"{day}: {apart:+f}" for day, apart in track.breaks[:SHOWN]]
    text = ""
    if parts:
        more = f" and {len(track.breaks) - SHOWN} more" if len(track.breaks) > SHOWN else ""
        text = f"{plural(len(track.breaks), 'day breaks', 'days break')} the identity ({', '.join(parts)}{more})"
    return "; ".join(filter(None, [text, *track.doubts]))


def _begins(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()


def _ends(day: date) -> float:
    return _begins(day + timedelta(days=1))


def _days(days: Sequence[date]) -> str:
    more = f" and {len(days) - SHOWN} more" if len(days) > SHOWN else ""
    return f"{', '.join(str(day) for day in days[:SHOWN])}{more}"
