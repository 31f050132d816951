# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients of Helm that a release began, by its record: which may still be at work, and what is theirs."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Dict, Mapping, Optional

from .._helm.revisions import LABEL, Revision
from ..errors import ReleaseError
from . import owner
from .record import Release, text_of

#: Where a release's last-good has what is Helm's.
HELM = "helm"
#: Of it, what is of clients: the revision that a release makes, or a roll back; of the last one its number, and which
#: release, process, limit and moment.
_PARTS = ("to", "back", "making", "by", "client", "timeout", "at")


def part(release: Optional[Release]) -> Dict[str, Any]:
    """What the record has of Helm; empty where there is nothing."""
    if release is None or release.previous is None:
        return {}
    return dict(release.previous.more.get(HELM) or {})


def handed_on(release: Optional[Release], name: str) -> Dict[str, Any]:
    """What the next record has to know of clients that this one's release began.

    :param name: of the Helm release
    """
    kept = part(release)
    return {each: kept[each] for each in _PARTS if each in kept} if kept.get("release") == name else {}


def begins(release: Release, what: str, number: int, timeout: float) -> None:
    """Puts into the record, which is to be saved then, that this process lets a client make a revision.

    :param what: "to" for the release, "back" for a roll back
    :param timeout: seconds after which the client is ended
    """
    if release.previous is None:
        raise ReleaseError("It has no last-good.")
    now = text_of(datetime.now(timezone.utc))
    kept = release.previous.more.setdefault(HELM, {})
    kept.update({what: number, "making": number}, by=release.id, client=owner.mine(), timeout=timeout, at=now)


def whose(release: Optional[Release], pending: Revision, timeout: float) -> str:
    """Why a pending revision may not be taken away; empty when it is of a run of ours that is provably gone."""
    kept = part(release)
    ours = kept.get("to") == pending.number or kept.get("back") == pending.number
    mine = kept.get("by") or (release.id if release else "")
    labelled = pending.status == "pending-rollback" or pending.labels.get(LABEL) == mine
    if not ours or not labelled:
        return "another client began it."
    if _ended(kept, str(pending.secret["metadata"].get("creationTimestamp") or ""), timeout):
        return ""
    return "the run that began it may still be at work."


def at_work(release: Optional[Release], newest: Optional[Revision], timeout: float) -> str:
    """Why a client of ours may yet make the revision that the record says; empty when it has, or is provably gone."""
    kept = part(release)
    number = int(kept.get("making") or 0)
    if not number or (newest is not None and newest.number >= number):
        return ""
    if _ended(kept, str(kept.get("at")), timeout):
        return ""
    return f"A client that is to make revision {number} may still be at work, since {kept.get('at')}."


def _ended(kept: Mapping[str, Any], since: str, timeout: float) -> bool:
    if owner.gone(kept.get("client")):
        return True
    # A client is ended after so many seconds, and ends with its run.
    aged, limit = owner.age(since), max(timeout, float(kept.get("timeout") or 0))
    return aged is not None and aged > 2 * limit + 60
