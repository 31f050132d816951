# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Following a rollout until it is over."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..checks import utc_now
from ..errors import ClusterError
from .client import Missing, Unanswered
from .rollout import COMPLETE, DRIFTED, FAILED, FAILING, UNKNOWN, Judgement, Wanted, judge
from .workloads import Seen

#: What a look raises when the API says what nobody expects.
NOT_UNDERSTOOD = (KeyError, TypeError, ValueError, AttributeError)


@dataclass
class Followed:
    """How following ended.

    :param state: complete, failed, drifted or unknown
    :param events: what happened, with its time: {at, state, reason, message, counts}
    :param seconds: until then
    :param noticed: seconds from the change until it was first seen to be failing; None when it never was
    """

    state: str
    reason: str
    message: str
    events: List[Dict[str, Any]]
    seconds: float
    noticed: Optional[float] = None
    seen: Optional[Seen] = None

    def as_data(self) -> Dict[str, Any]:
        """As JSON data, without the last picture."""
        kept = {name: value for name, value in self.__dict__.items() if name != "seen"}
        return dict(kept)


def follow(
    look: Callable[[], Seen],
    wanted: Wanted,
    *,
    deadline: float,
    say: Callable[[str], None] = lambda _text: None,
    interval: float = 1.0,
    steady: float = 2.0,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    wall: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    stop: Callable[[], Optional[str]] = lambda: None,
) -> Followed:
    """Follows a rollout until it is complete and stays so, has failed, or its time is over.

    An API that does not answer is waited for until the deadline; then the end is unknown, as is one for a reason that
    is not known.

    :param look: reads the cluster
    :param deadline: seconds
    :param steady: seconds for which it must stay complete
    :param stop: says why it is to be given up, such as that the run is gone
    """
    begun, events = clock(), []
    last: Tuple[str, str, str] = ("", "", "")
    failing: Dict[str, float] = {}
    noticed: Optional[float] = None
    complete: Optional[float] = None
    seen: Optional[Seen] = None
    while True:
        try:
            seen = look()
            found = judge(seen, wanted, wall())
        except Missing as error:
            found = Judgement(FAILED, "gone", error.message)
        except (ClusterError, *NOT_UNDERSTOOD) as error:
            found = Judgement(UNKNOWN, *unseen(error))
        now = clock()
        if found.state in (FAILING, FAILED) and noticed is None:
            noticed = round(now - begun, 3)
        found = _patient(found, failing, now)
        complete = (complete if complete is not None else now) if found.state == COMPLETE else None
        what = (found.state, found.reason, found.message)
        if what != last:
            events.append({"at": utc_now(), "seconds": round(now - begun, 3), **asdict(found)})
            say(found.message)
            last = what
        seconds = round(now - begun, 3)
        if found.state in (FAILED, DRIFTED) or (complete is not None and now - complete >= steady):
            return Followed(found.state, found.reason, found.message, events, seconds, noticed, seen)
        why = stop()
        if why or now - begun >= deadline:
            text = why or f"It was not over after {deadline:.0f} s. The last word: {found.message}"
            return Followed(
                UNKNOWN, "stopped" if why else (found.reason or "deadline"), text, events, seconds, noticed, seen
            )
        pause(interval)


def unseen(error: Exception) -> Tuple[str, str]:
    """Reason and message of a look that broke off: what it was at is unknown."""
    if isinstance(error, Unanswered):
        return "unanswered", f"The API does not answer: {error.message}"
    if isinstance(error, ClusterError):
        return "refused", error.message
    return "understood", f"What the API says is not understood ({type(error).__name__})."


def _patient(found: Judgement, failing: Dict[str, float], now: float) -> Judgement:
    """What is failing has failed when it has been so for its time; what is not any more is forgotten."""
    if found.state != FAILING:
        if found.reason != "unanswered":
            failing.clear()
        return found
    since = failing.setdefault(found.reason, now)
    if now - since >= found.patience:
        return Judgement(FAILED, found.reason, found.message, 0.0, found.counts)
    return found
