# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger's records of a period, as they lie in the store: whoever has the public keys can prove each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable, Dict, List

from .._ledger.places import Store
from .._ledger.points import trusted
from .._ledger.record import parse_time
from .._ledger.walk import backwards
from .collected import Count, Period, Source, Tool, parsed
from .platform import Writer, judged

#: Records are in order of their numbers, not of their clocks: so much further back is looked.
_CLOCKS = timedelta(days=2)
_MOST = 1_000_000


def ledger_records(options: Dict[str, Any], staging: Path, period: Period) -> Callable[[Source], Source]:
    """How to collect them: one envelope a line, oldest first."""

    def collect(source: Source) -> Source:
        store = Store(options["storage"], options["environment_name"], pool=16)
        begin, end = parsed(period.begin), parsed(period.end)
        numbers: List[int] = []
        unread: List[int] = []
        for number, record in backwards(store, trusted(options["evidence"]), options["environment_name"], _MOST):
            if record is None:
                unread.append(number)
                continue
            at = parse_time(record.predicate["recorded_at"])
            if at < begin - _CLOCKS:
                break
            if begin <= at < end:
                numbers.append(number)
        writer = Writer(staging, "ledger/records.jsonl.gz")
        read = 0
        for number in sorted(numbers):
            stored = store.read(number)
            if stored is None or b"\n" in stored.data:
                unread.append(number)
                continue
            writer.write(stored.data + b"\n")
            read += 1
        expected = max(numbers) - min(numbers) + 1 if numbers else 0
        found = replace(
            source,
            files=[writer.close(read)],
            command=[f"read {store.prefix}*.json, recorded_at in the period"],
            tool=Tool("tradingflow.maintenance", options["version"]),
            records=read,
            counts=[Count("records written", read), Count("numbers from the first to the last", expected)],
        )
        if unread:
            shown = ", ".join(map(str, sorted(unread)[:10]))
            found.reason = f"records {shown} are missing or do not verify, of whichever time they are"
        return judged(found, options["ledger_empty_ok"])

    return collect
