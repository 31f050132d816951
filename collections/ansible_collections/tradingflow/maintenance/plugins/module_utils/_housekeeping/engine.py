# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Housekeeping on a host: what would go and, later, exactly that."""

from __future__ import annotations

import hashlib
import os
import time
from functools import partial
from typing import Any, Callable, Collection, Dict, Iterator, List, Optional, Tuple

from .._work.job import described, outcome
from ..errors import HousekeepingError
from ..words import span
from .access import baseline, review
from .images import Images
from .journal import Journal
from .pace import Pace, Say, silent
from .packages import Archives, Kernels
from .place import declared_once
from .rotation import Rotation
from .temporary import Cleaner


def plan(params: Dict[str, Any], say: Say = silent) -> Dict[str, Any]:
    """What would go. Nothing is changed.

    :param say: takes lines that say how far it is
    :returns: of each class its parts with what was found, or their error; the tokens of all that would go, their digest
    """
    return _all(params, None, say)


def run(params: Dict[str, Any], say: Say = silent) -> Dict[str, Any]:
    """Takes away what was planned, as far as it is still the same, and nothing else.

    A plan that is none of those that were approved changes nothing: what would go is told as by plan, and in "refused"
    why it stays, as {kind, message, remedy}.
    """
    planned = frozenset(params["planned"])
    # Nobody was asked when there are none at all; an empty list is what somebody has approved nothing by.
    if params["approved"] is not None and planned and digest(planned) not in params["approved"]:
        refused = HousekeepingError(
            f"The plan {digest(planned)} is not among those that were approved.",
            "Read the plan (--check), and put its digest into housekeeping_approved.",
        )
        return {**_all(params, None, say), "refused": described(refused)}
    return _all(params, planned, say)


def _all(params: Dict[str, Any], planned: Optional[Collection[str]], say: Say) -> Dict[str, Any]:
    now = time.time()
    found: Dict[str, List[Dict[str, Any]]] = {}
    # What is only looked at comes first: later its logs may be others.
    found["access"] = [_part(each["path"], _reviewed(each, now)) for each in params["access_logs"]]
    wrong = _wrong_clock(params.get("clock"), now)
    for kind, name, make in _classes(params, now, say):
        mark = _mark(kind, name)
        own = None if planned is None else frozenset(each[len(mark) :] for each in planned if each.startswith(mark))
        part = _part(name, partial(_refused, wrong) if wrong and kind in _BY_AGE else _work(make, own))
        for item in part.get("items", []):
            item["token"] = mark + item["token"]
        found.setdefault(kind, []).append(part)
    tokens = [item["token"] for parts in found.values() for part in parts for item in part.get("items", [])]
    changed = any(part.get("done", {}).get(what) for parts in found.values() for part in parts for what in _CHANGES)
    return {"classes": found, "tokens": tokens, "digest": digest(tokens), "changed": changed}


_CHANGES = ("removed", "quarantined", "restored", "written")


#: What goes by age alone: with a clock that runs ahead, all of it is old.
_BY_AGE = ("temporary", "journal")
#: Seconds that the host and whoever asks may differ by, the time of connecting and of other work among them.
_CLOCKS = 3600.0


def _wrong_clock(clock: Optional[float], now: float) -> str:
    """Why nothing can be said of ages here; empty when it can, and when nobody told of the time elsewhere.

    :param clock: the time of whoever asks, in s since 1970
    """
    if clock is None or abs(now - clock) <= _CLOCKS:
        return ""
    return f"The host's clock is {span(abs(now - clock))} {'ahead of' if now > clock else 'behind'} the runner's"


def _refused(wrong: str) -> Dict[str, Any]:
    raise HousekeepingError(f"{wrong}: how old anything is, is not known.", "Set both clocks right, then run again.")


def _mark(kind: str, name: str) -> str:
    """What the tokens of a part begin with, so that each part is told of its own."""
    return hashlib.sha256(f"{kind}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()[:8] + "-"


def _cleaner(options: Dict[str, Any], params: Dict[str, Any], say: Say) -> Cleaner:
    declared_once(options, params["temporary"])
    return Cleaner(options, params["maximum"], params["look_at"], pace=Pace(options["path"], say))


def _classes(params: Dict[str, Any], now: float, say: Say) -> Iterator[Tuple[str, str, Callable[[], Any]]]:
    """Of what can be cleaned up: its class, its name, and what makes it; that has plan() and apply(tokens)."""
    for each in params["temporary"]:
        yield "temporary", each["path"], partial(_cleaner, each, params, say)
    if params["rotation"]:
        yield "rotation", "logrotate", partial(Rotation, params["rotation"])
    if params["journal"]:
        yield "journal", "journal", partial(Journal, params["journal"], now)
    if params["package_cache"]:
        yield "packages", "package cache", Archives
    if params["kernels"]:
        yield "kernels", "kernels", partial(Kernels, os.uname().release)
    for each in params["images"]:
        yield "images", each["program"], partial(Images, each["program"], each["remove"])


def _work(make: Callable[[], Any], planned: Optional[Collection[str]]) -> Callable[[], Dict[str, Any]]:
    def work() -> Dict[str, Any]:
        made = make()
        result: Dict[str, Any] = made.plan() if planned is None else made.apply(planned)
        return result

    return work


def _reviewed(options: Dict[str, Any], now: float) -> Callable[[], Dict[str, Any]]:
    def work() -> Dict[str, Any]:
        found = review(options, now)
        return {"found": found, "baseline": baseline(found), "empty_ok": options["empty_ok"], "period": options["days"]}

    return work


def _part(name: str, work: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
    """One part; its error takes no other part with it."""
    return {"name": name, **outcome(work)}


def digest(tokens: Collection[str]) -> str:
    """What stands for a whole plan, however often it lists something."""
    return hashlib.sha256("\n".join(sorted(set(tokens))).encode()).hexdigest()
