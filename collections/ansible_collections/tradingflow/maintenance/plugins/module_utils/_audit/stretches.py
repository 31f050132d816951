# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which numbers of the ledger are of a period, whatever a clock said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterator, List, Optional, Tuple

#: Clocks of several writers may differ so much without a word, in seconds.
_CLOCKS = 3600
#: Only so many older records in a row show that the begin is reached: one may be of a clock that was wrong.
_OLDER = 256

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
