# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger's records of a period, as they lie in the store: whoever has the public keys can prove each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from .._ledger.places import Store
from .._ledger.points import trusted
from .._ledger.record import parse_time
from .._ledger.walk import backwards
from .collected import Count, Period, Source, Tool, parsed
from .platform import Writer, judged

#: Clocks of several writers may differ so much without a word, in seconds.
_CLOCKS = 3600
#: Only so many older records in a row show that the begin is reached: one may be of a clock that was wrong.
_OLDER = 256
_MOST = 1_000_000

#: A record's number, and when it was recorded; None for one that is missing or does not verify.
Timed = Tuple[int, Optional[float]]


@dataclass
class Stretch:
    """The numbers of a period: from the last older record to the first later one, whatever clocks said between.

    :param unread: missing, or do not verify
    :param strange: with a time that their number contradicts
    :param lowest: down to where was looked; the begin may lie before when that is not 1 and not enough were older
    """

    low: int = 1
    high: int = 0
    unread: List[int] = field(default_factory=list)
    strange: List[int] = field(default_factory=list)
    lowest: int = 1
    reached: bool = True


def stretch(records: Iterator[Timed], begin: float, end: float) -> Stretch:
    """The numbers of a period.

    :param records: without a hole in the numbers, newest first
    """
    seen: List[Timed] = []
    later, older, lowest = True, 0, 1
    for lowest, at in records:
        if later and at is not None:
            if at >= end:
                seen = []
                continue
            later = False
        seen.append((lowest, at))
        if at is not None:
            older = older + 1 if at < begin else 0
            if older == _OLDER:
                break
    found = Stretch(lowest=lowest, reached=older == _OLDER or lowest == 1)
    # The older records at the end of what was seen are of earlier periods, and what cannot be read between them.
    while seen and older:
        at = seen.pop()[1]
        older -= at is not None
    if not seen:
        return found
    found.low, found.high = seen[-1][0], seen[0][0]
    latest = begin
    for number, at in reversed(seen):
        if at is None:
            found.unread.append(number)
            continue
        if at < latest - _CLOCKS or at >= end + _CLOCKS:
            found.strange.append(number)
        else:
            latest = max(latest, at)
    return found


def ledger_records(options: Dict[str, Any], staging: Path, period: Period) -> Callable[[Source], Source]:
    """How to collect them: one envelope a line, oldest first."""

    def collect(source: Source) -> Source:
        store = Store(options["storage"], options["environment_name"], pool=16)
        walk = backwards(store, trusted(options["evidence"]), options["environment_name"], _MOST)
        times = (
            (number, parse_time(record.predicate["recorded_at"]).timestamp() if record else None)
            for number, record in walk
        )
        of = stretch(times, parsed(period.begin).timestamp(), parsed(period.end).timestamp())
        writer = Writer(staging, "ledger/records.jsonl.gz")
        read, unread = 0, set(of.unread)
        for number in range(of.low, of.high + 1):
            stored = None if number in unread else store.read(number)
            if stored is None or b"\n" in stored.data:
                unread.add(number)
                continue
            writer.write(stored.data + b"\n")
            read += 1
        found = replace(
            source,
            files=[writer.close(read)],
            command=[f"read {store.prefix}*.json, recorded_at in the period"],
            tool=Tool("tradingflow.maintenance", options["version"]),
            records=read,
            counts=[
                Count("records written", read),
                Count("numbers after the last older record and before the first later one", of.high - of.low + 1),
            ],
        )
        reasons = []
        if unread:
            reasons.append(f"records {_shown(sorted(unread))} are missing or do not verify")
        if of.strange:
            reasons.append(f"the times of records {_shown(of.strange)} do not fit their numbers: a clock was wrong")
        if not of.reached:
            reasons.append(f"records before number {of.lowest} were not looked at")
        found.reason = "; ".join(reasons)
        return judged(found, options["ledger_empty_ok"])

    return collect


def _shown(numbers: List[int]) -> str:
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    return ", ".join(map(str, numbers[:10])) + more
