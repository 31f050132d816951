# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether exactly those physical backups went that were to go, by the store's listing before and after."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .._wal.repository import Repository
from ..checks import CRITICAL, OK, WARNING, Check, unknown, utc_now
from ..errors import MaintenanceError
from ..words import plural, size

ID, TITLE = "retention.repository", "Backups of pgBackRest"


def harm(before: Repository, after: Repository, said: Dict[str, Any]) -> List[str]:
    """What is not as pgBackRest said, in words.

    :param said: what the module returned
    """
    found: List[str] = []
    expired = set(said["expired"])
    unsaid = sorted(before.labels - after.labels - expired)
    found += [f"{label} has gone, and pgBackRest did not say so" for label in unsaid]
    now = after.objects
    # What is new may have been begun meanwhile.
    for label in sorted(before.labels & after.labels - expired):
        prefix = before.backup(label)
        own = {key: each for key, each in before.objects.items() if key.startswith(prefix)}
        changed = [
            key
            for key, each in own.items()
            if key not in now or (now[key].size, now[key].etag) != (each.size, each.etag)
        ]
        found += [f"{key} of a backup that stays has gone or changed" for key in changed[:3]]
    for id, archive in sorted(before.archives.items()):
        left = after.archives[id].segments if id in after.archives else {}
        told = [each for each in said["wal"] if each["archive"] == id]
        needed = said["wal_needed"].get(id)
        for name in sorted(set(archive.segments) - set(left)):
            # Ranges are of all timelines: the first part of a name does not count.
            if not any(not each["stop"] or each["start"][8:] <= name[8:] <= each["stop"][8:] for each in told):
                found.append(f"WAL {name} of {id} has gone, and pgBackRest did not say so")
            elif needed and name[8:] >= needed[8:]:
                found.append(f"WAL {name} of {id} has gone, and a backup needs it")
    return found


def findings(
    before: Repository, after: Repository, said: Dict[str, Any], wanted: List[str], check_mode: bool, started_at: str
) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """The check and the action."""
    left = sorted(set(said["expired"]) & after.labels) if not check_mode else []
    refused = {**said["refused"], **dict.fromkeys(left, "the store still has objects of it")}
    expired = [label for label in said["expired"] if label not in left]
    freed = sum(each.size for each in before.objects.values()) - sum(each.size for each in after.objects.values())
    source = f"{before.path}/backup/{before.stanza}"
    details: Dict[str, Any] = {
        "wanted": wanted[:100],
        "expired": expired[:100],
        "refused": dict(list(refused.items())[:20]),
        "wal": said["wal"][:50],
        "wal_needed": said["wal_needed"],
        "freed_bytes": max(freed, 0),
    }
    wrong = [] if check_mode else harm(before, after, said)
    kept = len(after.labels) if not check_mode else len(before.labels - set(expired))
    text, status, remedy = f"{plural(kept, 'backup stays', 'backups stay')}.", OK, ""
    if wrong:
        more = f" And {len(wrong) - 3} more." if len(wrong) > 3 else ""
        text = f"Other things have gone than were to go: {'; '.join(wrong[:3])}.{more}"
        status = CRITICAL
        remedy = "Bring them back from the older versions of the objects, and make a full backup now."
        details["wrong"] = wrong[:50]
    elif refused or said["wal_refused"]:
        whys = [f"{label} stays: {why}" for label, why in sorted(refused.items())[:3]]
        whys += [f"no WAL went: {said['wal_refused']}"] if said["wal_refused"] else []
        text = f"{text} {'. '.join(whys)}."
        status, remedy = WARNING, "Nothing that is needed is lost; the next run tries again."
    check = Check(ID, TITLE, status, kept, message=text, remedy=remedy, source=source, details=details)
    return [check], [_action(expired, wanted, said, details, check_mode, status, started_at)]


def _action(
    expired: List[str],
    wanted: List[str],
    said: Dict[str, Any],
    details: Dict[str, Any],
    check_mode: bool,
    status: str,
    started_at: str,
) -> Dict[str, Any]:
    if check_mode:
        state, text = (
            "planned",
            f"Would delete {plural(len(expired), 'backup')} and the WAL that no backup would then need",
        )
    elif not wanted and not said["wal"]:
        state, text = "skipped", "No backup to delete"
    else:
        # What stays for a reason is a warning; a failed action would make it critical at every run.
        state = "failed" if status == CRITICAL else "ok" if expired or said["wal"] or status == OK else "skipped"
        text = f"Deleted {len(expired)} of {plural(len(wanted), 'backup')} that were due"
        text += f" and {plural(len(said['wal']), 'range')} of WAL" if said["wal"] else ""
        text += f" ({size(details['freed_bytes'])})"
        text += f"; {plural(len(details['refused']), 'stays', 'stay')}" if details["refused"] else ""
    return {
        "id": ID,
        "title": TITLE,
        "status": state,
        "changed": bool(not check_mode and (expired or said["wal"])),
        "message": f"{text}.",
        "started_at": started_at,
        "finished_at": utc_now(),
        "details": details,
    }


def failure(error: MaintenanceError, started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Check and action when pgBackRest could not be asked, or the store."""
    action = {
        "id": ID,
        "title": TITLE,
        "status": "failed",
        "changed": False,
        "message": f"{error.message} {error.remedy}".rstrip(),
        "started_at": started_at,
        "finished_at": utc_now(),
        "details": {},
    }
    return [unknown(ID, TITLE, error.message, error.remedy)], [action]
