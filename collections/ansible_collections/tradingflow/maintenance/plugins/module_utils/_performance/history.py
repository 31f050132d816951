# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""History as it was reported: what is kept of it by month, and what has been restated since."""

from __future__ import annotations

import hashlib
import itertools
from datetime import date
from decimal import Decimal
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .columns import EXACT_FLOAT, Days, plain
from .identity import EPOCH, Track

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]

#: How many entries older reports have of a month.
OLD = 3

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
    factors = [10 ** (days.scale - scale) for scale in scales.tolist()]
    # More zeros than 64 bits have digits, as an empty strategy's numeric(38, 20).
    wide = stack.dtype != np.int64 or max(factors) >= 1 << 63
    each = np.repeat(np.array(factors, dtype=object if wide else np.int64), np.diff(bounds))
    contents, ordinals = (stack.astype(object) if wide else stack) // each, days.ordinals.astype("<i8")
    contents = contents if wide else contents.astype("<i8")
    result: Months = {}
    for place, (begin, end) in enumerate(itertools.pairwise(bounds)):
        content = contents[:, begin:end]
        digest = hashlib.sha256(f"{track.currency} {scales[place]}\n".encode())
        digest.update(ordinals[begin:end].tobytes() + days.known[begin:end].tobytes())
        digest.update(_bytes(content) if wide else content.tobytes())
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
