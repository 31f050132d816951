# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The books first: equity of a day is that of the day before, its result and its flow, to the last digit."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .._checks.risk import EXACT
from ..words import plural, printable
from .columns import EXACT_FLOAT, Days, Rows, decimal, fitting, integers, ordinals, plain, scale_of
from .columns import Day as Day

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
#: 1970-01-01, as days since year 1; and how many entries older reports have of a month.
EPOCH, OLD = 719163, 3


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
    known: Dict[Any, "Months"] = field(default_factory=dict, repr=False, compare=False)

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


#: What the months of a track were: SHA-256 of their days (the first 16 digits), result, last equity, fees (empty where
#: nobody tells those of a day) and flows. Older reports have the first three, of days without fees and currency.
Months = Dict[str, List[str]]


def months(track: Track, until: Optional[date] = None) -> Months:
    """The months of a track, small enough to be kept in a report.

    :param until: the last day that counts
    """
    if until not in track.known:
        track.known[until] = _months(track, until)
    return track.known[until]


def _months(track: Track, until: Optional[date]) -> Months:
    days = Days.of(track.days)
    if until is not None:
        days = days.taken(slice(int(np.searchsorted(days.ordinals, until.toordinal(), side="right"))))
    if not len(days):
        return {}
    stack = np.stack([days.equity, days.pnl, days.flow, days.fees])
    starts = _beginnings(days)
    scales = np.maximum.reduceat(_scales(stack, days.scale), starts)
    # Of Python's integers where sums of a month would not fit.
    pnl, fees, flow = (np.add.reduceat(column, starts).tolist() for column in (days.pnl, days.fees, days.flow))
    told = np.logical_and.reduceat(days.known, starts).tolist()
    names = (days.ordinals[starts] - EPOCH).astype("datetime64[D]").astype("datetime64[M]").astype(str).tolist()
    bounds = [*starts.tolist(), len(days)]
    result: Months = {}
    for place, (begin, end) in enumerate(itertools.pairwise(bounds)):
        scale = int(scales[place])
        content = stack[:, begin:end] // 10 ** (days.scale - scale)
        digest = hashlib.sha256(f"{track.currency} {scale}\n".encode())
        digest.update(days.ordinals[begin:end].astype("<i8").tobytes() + days.known[begin:end].tobytes())
        digest.update(_bytes(content))
        result[names[place]] = [
            digest.hexdigest()[:16],
            plain(pnl[place], days.scale),
            plain(days.equity[end - 1], days.scale),
            plain(fees[place], days.scale) if told[place] else "",
            plain(flow[place], days.scale),
        ]
    return result


def _scales(stack: Any, scale: int) -> Any:
    """How many digits after the point the numbers of each day need, however many zeros they were written with."""
    found = np.full(stack.shape[1], scale)
    rest = np.arange(stack.shape[1])
    content = stack
    for less in range(scale):
        plainer = (content % 10 == 0).all(axis=0)
        if not plainer.any():
            break
        rest, content = rest[plainer], content[:, plainer] // 10
        found[rest] = scale - less - 1
    return found


def _beginnings(days: Days) -> Any:
    """Places of the first day of each month."""
    of = (days.ordinals - EPOCH).astype("datetime64[D]").astype("datetime64[M]")
    return np.flatnonzero(np.concatenate(([True], of[1:] != of[:-1])))


def _bytes(content: Any) -> bytes:
    """Integers as bytes, the same for the same ones in whatever array they are."""
    if content.dtype != np.int64 and any(abs(value) >= EXACT_FLOAT for value in content.ravel().tolist()):
        return str(content.tolist()).encode()
    return content.astype("<i8").tobytes()  # type: ignore[no-any-return]


def kept(track: Track, cut: Optional[bool] = None) -> Dict[str, Any]:
    """What the next review compares with.

    :param cut: whether there is more before the first day; by default as it was followed
    """
    return {
        "from": str(track.days[0].day),
        "through": str(track.days[-1].day),
        "edge": track.inside if cut is None else cut,
        "currency": track.currency,
        "months": months(track),
    }


def compared(before: Mapping[str, Any], track: Track, first: Optional[date] = None) -> List[str]:
    """Months that can be compared: those of which both have read the same days, as far as the windows go.

    :param before: see kept(); from and edge may be missing
    :param first: the first day that is read now, None when there is nothing before it
    """
    begins = track.days[0].day if track.days else date.max
    began = date.fromisoformat(before["from"]) if before.get("from") else date.min
    found = []
    for month in sorted({*before["months"], *months(track, date.fromisoformat(before["through"]))}):
        start = date.fromisoformat(f"{month}-01")
        # What a window left out nobody has compared; what was the beginning of all must not move.
        if before.get("edge") and begins < began and began > start:
            continue
        if first and begins > max(began, start):
            continue
        found.append(month)
    return found


def restated(before: Mapping[str, Any], track: Track, first: Optional[date] = None) -> List[Dict[str, Any]]:
    """Months that are no more what the last review read: as reported then, as known now.

    :param before: see kept()
    :param first: the first day that is read now, None when there is nothing before it
    """
    now = months(track, date.fromisoformat(before["through"]))
    found = []
    for month in compared(before, track, first):
        then, here = before["months"].get(month), now.get(month)
        known = here[0] if here else ""
        if then and here and len(then) == OLD:
            known = _old_digest(track, month, date.fromisoformat(before["through"]))
        if (then[0] if then else "") != known:
            found.append({"month": month, "reported": _told(then), "known": _told(here)})
    return found


def _told(month: Optional[Sequence[str]]) -> Optional[Dict[str, str]]:
    return dict(zip(("pnl", "equity", "fees", "flows"), month[1:], strict=False)) if month else None


def _old_digest(track: Track, month: str, until: date) -> str:
    """The digest of a month as older versions made it, of days without fees and currency."""
    days = [day for day in track.days if day.day <= until and f"{day.day:%Y-%m}" == month]
    text = "\n".join(f"{d.day} {_plain(d.equity)} {_plain(d.pnl)} {_plain(d.flow)}" for d in days)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Decimal) -> str:
    """A number in one form, however many zeros it was written with."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _begins(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()


def _ends(day: date) -> float:
    return _begins(day + timedelta(days=1))


def _days(days: Sequence[date]) -> str:
    more = f" and {len(days) - SHOWN} more" if len(days) > SHOWN else ""
    return f"{', '.join(str(day) for day in days[:SHOWN])}{more}"
