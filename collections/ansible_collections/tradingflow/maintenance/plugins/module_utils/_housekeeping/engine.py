# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Housekeeping on a host: what would go and, later, exactly that."""

from __future__ import annotations

import hashlib
from typing import Any, Callable, Collection, Dict, List, Optional

from .._work.job import outcome
from ..errors import HousekeepingError
from .temporary import Cleaner


def plan(params: Dict[str, Any]) -> Dict[str, Any]:
    """What would go. Nothing is changed.

    :returns: of each class its parts with what was found, or their error; the tokens of all that would go, their digest
    """
    return _all(params, None)


def run(params: Dict[str, Any]) -> Dict[str, Any]:
    """Takes away what was planned, as far as it is still the same, and nothing else.

    :raises HousekeepingError: the plan is none that was approved
    """
    planned = frozenset(params["planned"])
    if params["approved"] and planned and digest(planned) not in params["approved"]:
        raise HousekeepingError(
            f"The plan {digest(planned)} is not among those that were approved.",
            "Read the plan (--check), and put its digest into housekeeping_approved.",
        )
    return _all(params, planned)


def _all(params: Dict[str, Any], planned: Optional[Collection[str]]) -> Dict[str, Any]:
    found = {"temporary": [_part(each["path"], _temporary(params, each, planned)) for each in params["temporary"]]}
    tokens = [item["token"] for parts in found.values() for part in parts for item in part.get("items", [])]
    return {**found, "tokens": tokens, "digest": digest(tokens), "changed": any(map(_changed, found.values()))}


def _part(name: str, work: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
    """One part; its error takes no other part with it."""
    return {"name": name, **outcome(work)}


def _temporary(
    params: Dict[str, Any], options: Dict[str, Any], planned: Optional[Collection[str]]
) -> Callable[[], Dict[str, Any]]:
    def work() -> Dict[str, Any]:
        cleaner = Cleaner(options, params["maximum"], params["look_at"])
        return cleaner.plan() if planned is None else cleaner.apply(planned)

    return work


def _changed(parts: List[Dict[str, Any]]) -> bool:
    return any(part.get("done", {}).get(what) for part in parts for what in ("removed", "quarantined"))


def digest(tokens: Collection[str]) -> str:
    """What stands for a whole plan."""
    return hashlib.sha256("\n".join(sorted(tokens)).encode()).hexdigest()
