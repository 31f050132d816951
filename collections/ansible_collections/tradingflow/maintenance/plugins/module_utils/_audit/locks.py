# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the store still has the bundles of a chain, and refuses to delete them for as long as each of them says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._ledger.places import NO_LOCK, ClientError
from .._storage.read import head
from ..errors import EvidenceError, MaintenanceError
from ..storage import error_code, storage_errors
from .chain import Chain, Link
from .collected import parsed

#: So many of the newest bundles are looked at each time: eleven years of weekly ones.
_NEWEST = 600
#: And about so many of older ones, by turns.
_OLDER = 300
_DENIED = ("AccessDenied", "403")


def kept(chain: Chain, newest: Optional[Link], now: datetime) -> Dict[str, Any]:
    """What the store says of archives and statements of all bundles.

    :returns: looked_at; bundles: how many there are; lost: gone, or not locked any more as long as they must be;
        lifted: legal holds; untold: what the store does not say
    """
    found: Dict[str, Any] = {
        "looked_at": 0,
        "bundles": newest.number if newest else 0,
        "lost": [],
        "lifted": [],
        "untold": [],
    }
    if newest is None:
        return found
    try:
        can = chain.locks()
    except MaintenanceError as error:
        found["untold"].append(error.message)
        return found
    if can is False:
        found["untold"].append("the bucket has no object lock")
        return found
    numbers = chosen(newest.number)
    with ThreadPoolExecutor(8, thread_name_prefix="locks") as pool:
        for looked, lost, lifted, untold in pool.map(lambda number: _bundle(chain, number, now), numbers):
            found["looked_at"] += looked
            found["lost"] += lost
            found["lifted"] += lifted
            found["untold"] += untold
    return found


def chosen(newest: int) -> List[int]:
    """Numbers of the bundles to look at: the newest, and of older ones each n-th.

    With each new bundle it is the turn of others, so that none is left out for long.
    """
    older = range(max(0, newest - _NEWEST), 0, -1)
    turns = -(-len(older) // _OLDER) or 1
    return [*range(newest, len(older), -1), *(number for number in older if number % turns == newest % turns)]


def _bundle(chain: Chain, number: int, now: datetime) -> Tuple[int, List[str], List[str], List[str]]:
    """Of one bundle: whether it was looked at, what is lost, lifted and untold."""
    try:
        link = chain.link(number)
    except EvidenceError as error:
        return 1, [f"bundle {number}: {error.message}"], [], []
    except MaintenanceError as error:
        return 1, [], [], [f"bundle {number}: {error.message}"]
    # What was locked was locked after the period's end; the lock holds at least so long.
    until = parsed(link.facts["period"]["to"]) + timedelta(days=link.facts["retention"]["days"])
    lost: List[str] = []
    lifted: List[str] = []
    untold: List[str] = []
    for key in (chain.archive_key(link.facts["bundle"], link.digest), chain.key(number)):
        try:
            answer = head(chain.s3, chain.storage, key)
            held = link.facts["legal_hold"] and key.endswith(".tar")
            if answer is None:
                # Beyond its time, and without a hold, it may be deleted.
                lost += [f"{key} is gone"] if held or now < until else []
                continue
            hold = _hold(chain, key) if held else True
            if hold is not True:
                (untold if hold is None else lifted).append(f"the legal hold of {key}")
            if now >= until:
                continue
            locked = _until(chain, key)
            if locked is None:
                untold.append(f"the lock of {key}")
            elif locked is False or (isinstance(locked, datetime) and locked < until):
                shown = "has no lock" if locked is False else f"is locked only until {locked:%Y-%m-%d}"
                lost.append(f"{key} {shown}, instead of until {until:%Y-%m-%d}")
        except MaintenanceError as error:
            untold.append(f"{key}: {error.message}")
    return 1, lost, lifted, untold


def _until(chain: Chain, key: str) -> Any:
    """Until when an object is locked; False when it is not, None when the store does not say."""
    said = _said(chain, key, "lock", chain.s3.get_object_retention)
    return said and ((said.get("Retention") or {}).get("RetainUntilDate") or False)


def _hold(chain: Chain, key: str) -> Optional[bool]:
    """Whether an object is on legal hold; None when the store does not say."""
    said = _said(chain, key, "legal hold", chain.s3.get_object_legal_hold)
    return said and (said.get("LegalHold") or {}).get("Status") == "ON"


def _said(chain: Chain, key: str, what: str, ask: Callable[..., Any]) -> Any:
    """What the store says of an object's lock; False when it has none, None when it does not say."""
    with storage_errors(chain.storage, f"asking for the {what} of {key}"):
        try:
            return ask(Bucket=chain.bucket, Key=key)
        except ClientError as error:
            if error_code(error) in _DENIED:
                return None
            if error_code(error) in NO_LOCK:
                return False
            raise
