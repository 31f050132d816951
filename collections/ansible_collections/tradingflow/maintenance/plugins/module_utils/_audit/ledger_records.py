# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger's records of a period, as they lie in the store: whoever has the public keys can prove each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional

from ..errors import MaintenanceError
from .collected import Count, Period, Source, Tool
from .ledger_once import Ledger
from .packing import Packed, Scratch


def ledger_records(
    options: Dict[str, Any],
    scratch: Scratch,
    period: Period,
    ledger: Optional[Ledger],
    unread: Optional[MaintenanceError] = None,
) -> Callable[[Source], Source]:
    """How to collect them: one envelope a line, oldest first.

    :param ledger: None where it could not be read
    :param unread: why
    """

    def collect(source: Source) -> Source:
        if ledger is None:
            raise unread or MaintenanceError(f"The ledger was not read for {period.begin} to {period.end}.")
        of = ledger.of
        read, lost = 0, set(of.unread)
        with Packed(scratch, "ledger/records.jsonl.gz") as packed:
            for number in range(of.low, of.high + 1):
                data = None if number in lost else ledger.envelope(number)
                if data is None or b"\n" in data:
                    lost.add(number)
                    continue
                packed.write(data + b"\n")
                read += 1
            file = packed.close(read)
        found = replace(
            source,
            files=[file],
            command=[f"read {ledger.prefix}*.json, recorded_at in the period"],
            tool=Tool("tradingflow.maintenance", options["version"]),
            records=read,
            counts=[
                Count("records written", read),
                Count("numbers after the last older record and before the first later one", of.high - of.low + 1),
            ],
        )
        reasons = []
        if lost:
            reasons.append(f"records {_shown(sorted(lost))} are missing or do not verify")
        if of.strange:
            reasons.append(f"the times of records {_shown(of.strange)} do not fit their numbers: a clock was wrong")
        if not of.reached:
            reasons.append(f"records before number {of.lowest} were not looked at")
        return found.concluded(reasons + found.miscounted(options["ledger_empty_ok"]))

    return collect


def _shown(numbers: List[int]) -> str:
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    return ", ".join(map(str, numbers[:10])) + more
