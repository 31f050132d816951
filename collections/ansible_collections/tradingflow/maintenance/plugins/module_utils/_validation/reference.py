# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plain model of our own to compare with: what so many sessions before have shown. A reference, and no better one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .forecasts import Session

try:
    import numpy as np
except ImportError:
    np = None  # type: ignore[assignment]


@dataclass
class Reference:
    """Historical simulation, in money.

    :param undefined: why there is nothing
    :param var: for each session that has enough before it
    :param exceptions: sessions that lost more than that
    :param now: value at risk and expected shortfall for the session to come
    """

    undefined: str = ""
    var: Optional[Dict[date, float]] = None
    exceptions: int = 0
    now: Tuple[float, float] = (0.0, 0.0)


def reference(sessions: Sequence[Session], level: Decimal, least: int, most: int) -> Reference:
    """[reference-hs] The loss that returns of the sessions before exceeded with the level's probability.

    Of n returns the floor(n (1 - level)) + 1 lowest; expected shortfall is the mean of these and of the lower ones.

    :param least: sessions before that it takes, or as many as the level needs for one loss beyond
    :param most: how many are looked at
    """
    share = 1 - level
    least = max(least, math.ceil(1 / share))
    if len(sessions) <= least:
        return Reference(f"there are {len(sessions)} sessions, and it takes more than {least}")
    if any(session.base <= 0 for session in sessions):
        return Reference("a session began with capital of 0 or less")
    returns = np.array([float(session.result / session.base) for session in sessions])
    found = Reference(var={})
    for place in range(least, len(sessions)):
        value, _short = _simulated(returns[max(0, place - most) : place], share)
        loss = value * float(sessions[place].base)
        if found.var is not None:
            found.var[sessions[place].day] = loss
        found.exceptions += -float(sessions[place].result) > loss
    last = sessions[-1]
    capital = float(last.base + last.result)
    value, short = _simulated(returns[-most:], share)
    found.now = (value * capital, short * capital)
    return found


def _simulated(returns: Any, share: Decimal) -> "Tuple[float, float]":
    """Value at risk and expected shortfall, as shares of the capital; a gain is no loss below 0."""
    place = int(len(returns) * share)
    worst = np.partition(returns, place)[: place + 1]
    return max(0.0, -float(worst.max())), max(0.0, -float(worst.mean()))


#: Sessions that must have both, before they are compared.
LEAST = 20


def compared(found: Reference, forecast: Dict[date, Decimal]) -> Optional[float]:
    """The median of what was forecast by what the reference says, of sessions that have both; None of too few."""
    ratios: List[float] = sorted(
        float(forecast[day]) / value for day, value in (found.var or {}).items() if day in forecast and value > 0
    )
    return ratios[len(ratios) // 2] if len(ratios) >= LEAST else None
