# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clocks compared, over an answer that takes its time: a slow answer says little, several say more."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Dict, List, Optional, Tuple

from ..checks import OK, Check, judge, unknown

#: The other clock less the runner's, in s: at least, at most.
Bounds = Tuple[float, float]

#: How often a clock is asked again when the answers so far took too long.
TRIES = 4
#: What is asked of a host then.
COMMAND = "date +%s.%N"

_UNSYNCHRONISED = 0x40


def bounds(clock: float, before: float, after: float, began: Optional[float] = None) -> Bounds:
    """What an answer says.

    :param clock: the other clock, read between the runner's before and after, all in s since the epoch
    :param began: the other clock, read once more before that: what happened between the two is no delay
    """
    return clock - after, (clock if began is None else began) - before


def narrowed(answers: List[Bounds]) -> Bounds:
    """What several answers say together; when they contradict each other, a clock was set: the last."""
    low, high = max(each[0] for each in answers), min(each[1] for each in answers)
    return (low, high) if low <= high else answers[-1]


def too_wide(found: Bounds, limit: Dict[str, Any]) -> bool:
    """Whether it cannot be told whether clocks agree within the lowest of the limits."""
    lowest = min((each for each in limit.values() if each is not None), default=None)
    return lowest is not None and found[0] <= 0 <= found[1] and found[1] - found[0] > lowest


def compared(
    id: str, title: str, limit: Dict[str, Any], found: Bounds, whose: str, source: str, held: Any = None
) -> Check:
    """Another clock against the runner's.

    :param whose: clock, as the beginning of a sentence
    :param held: what the kernel there says of its clock, see kernel()
    """
    low, high = found
    width, skew = high - low, round(max(low, -high, 0.0), 3)
    details = {"measured_within_s": round(width, 3), "kernel": held or None}
    common: Dict[str, Any] = {"unit": "s", **limit, "source": source, "details": details}
    if too_wide(found, limit):
        error = _error(held)
        if error is None or too_wide((-error, error), limit):
            text = f"The answer took {width:.3g} s: too long to compare clocks."
            remedy = "Let a time service keep the clock there (timedatectl), or run again when it answers faster."
            return unknown(id, title, text, remedy, **common)
        text = f"A time service keeps the clock within {error:.2g} s; the answer took {width:.3g} s, too long for more."
        return Check(id, title, OK, 0, message=text, **common)
    direction = "ahead of" if low > 0 else "behind"
    return judge(
        id,
        title,
        skew,
        message=f"{whose} is {skew:g} s {direction} the runner's." if skew else f"They agree within {width:.2g} s.",
        remedy="Check time synchronisation of both machines (timedatectl; chronyc tracking).",
        **common,
    )


def _error(held: Any) -> Optional[float]:
    if not isinstance(held, dict) or held.get("synchronised") is not True:
        return None
    error = held.get("error")
    return float(error) if isinstance(error, (int, float)) and error >= 0 else None


class _Timex(ctypes.Structure):
    """struct timex of Linux, as far as it is read."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


def kernel() -> Dict[str, Any]:
    """What this host's kernel says of its clock: whether a time service keeps it, and within how many s."""
    try:
        state = _Timex()
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(state))
    except (OSError, AttributeError):
        return {}
    if answer < 0 or os.name != "posix":
        return {}
    return {"synchronised": not state.status & _UNSYNCHRONISED and answer != 5, "error": state.maxerror / 1e6}
