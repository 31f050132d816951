# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether every physical recovery point still has what it needs: its backup, its chain, and its WAL."""

from __future__ import annotations

from typing import Any, Dict, List

from .._pgbackrest.wal import between
from .._recovery_points import objects
from ..checks import CRITICAL, OK, Check, unknown
from ..errors import BackupError
from ..words import human, plural
from .points import Points
from .repository import MANIFEST, Repository

ID, TITLE = "backups.wal_of_backups", "Backups and the WAL they need"

#: Bytes of a segment, where there is no WAL to tell.
_USUAL = 1 << 24

_SETUP = (
    "If they were never set up, run playbooks/backup_setup.yml, or take pgbackrest out of backup_engines. If they "
    "were, find out who deleted them, and bring the objects back from their older versions where the bucket keeps them."
)
_REMEDY = (
    "Do not rely on the recovery points that are named. Bring the objects back from their older versions where the "
    "bucket keeps them, and make a full backup now (backup_pgbackrest_type: full)."
)


def problems(repository: Repository, point: Dict[str, Any], segment_size: int) -> List[str]:
    """What a physical recovery point lacks, in words, by the repository's listing.

    :param segment_size: bytes of a WAL segment
    """
    found: List[str] = []
    engine = point["engine"]
    theirs = [entry for entry in objects.all_objects(point) if entry["role"] in (objects.BACKUP, objects.WAL)]
    for entry in theirs:
        listed = repository.objects.get(entry["key"])
        wrong = objects.difference(entry, listed.as_listed() if listed else None)
        if wrong:
            found.append(wrong)
    # What it does not name it may need all the same.
    named = {entry["key"].rsplit("/", 1)[-1][:24] for entry in theirs if entry["role"] == objects.WAL}
    try:
        needed = between(engine["wal_start"], engine["target_wal"], segment_size)
    except BackupError as error:
        found.append(error.message.rstrip("."))
        needed = []
    archive = repository.archives.get(engine["archive_id"])
    found += [
        f"WAL {each} is missing" for each in needed if each not in named and not (archive and each in archive.segments)
    ]
    for label in [*engine["requires"], engine["label"]]:
        manifest = repository.backup(label) + MANIFEST
        if manifest not in repository.objects and not any(manifest in text for text in found):
            found.append(f"{manifest} is missing")
    return found


def of_files(repository: Repository) -> List[str]:
    """What is wrong with pgBackRest's own files, each of which it writes twice with the same contents."""
    found = []
    pairs = [
        (repository.information("archive"), repository.information("archive", ".copy")),
        (repository.information("backup"), repository.information("backup", ".copy")),
    ]
    for label in _whole(repository):
        pairs.append((repository.backup(label) + MANIFEST, repository.backup(label) + f"{MANIFEST}.copy"))
    both = [(own, repository.objects.get(own), copy, repository.objects.get(copy)) for own, copy in pairs]
    # Stores that encrypt give the same contents different ETags: then they tell nothing here.
    hashes = any(first and second and first.etag == second.etag for _own, first, _copy, second in both)
    for own, first, copy, second in both:
        if first is None or second is None:
            found += [f"{key} is missing" for key, entry in ((own, first), (copy, second)) if entry is None]
        elif first.size != second.size or (hashes and first.etag != second.etag):
            found.append(f"{own} and its copy differ")
    return found


def _whole(repository: Repository) -> List[str]:
    return [label for label in sorted(repository.labels) if repository.backup(label) + MANIFEST in repository.objects]


def measure(
    repository: Repository, points: Points, members: List[Dict[str, Any]], sizes: Dict[str, int], source: str
) -> Check:
    """The check.

    :param members: physical ones of this repository
    :param sizes: bytes of a segment by archive
    """
    wrong: Dict[str, List[str]] = {}
    for point in members:
        found = problems(repository, point, sizes.get(point["engine"]["archive_id"], _USUAL))
        if found:
            wrong[point["id"]] = found
    own = of_files(repository)
    named = {label for point in members for label in [*point["engine"]["requires"], point["engine"]["label"]]}
    common: Dict[str, Any] = {
        "source": source,
        "details": {
            "recovery_points": len(members),
            "problems": {id: each[:20] for id, each in list(wrong.items())[:20]},
            "files": own[:20],
            "backups_of_no_recovery_point": sorted(repository.labels - named)[:20],
        },
    }
    if wrong or own:
        what = plural(len(wrong), "recovery point is", "recovery points are", none="No")
        parts = [f"{id}: {_first(each)}" for id, each in list(wrong.items())[:3]]
        text = f"{what} damaged: {'. '.join([*parts, _first(own)] if own else parts)}."
        if not wrong:
            text = f"The repository is damaged: {_first(own)}."
        if not members and not repository.objects:
            return Check(ID, TITLE, CRITICAL, 0, message=repository.nothing(), remedy=_SETUP, **common)
        whole = len(members) - len(wrong)
        return Check(ID, TITLE, CRITICAL, whole, message=text, remedy=_REMEDY, **common)
    if points.unreadable:
        id, why = min(points.unreadable.items())
        text = f"{id} cannot be read, so what it needs is unknown: {why}."
        return unknown(ID, TITLE, text, "Restore the older version of its recovery-point.json.", **common)
    if not members:
        text = f"There is no recovery point in the repository {repository.path}."
        return unknown(ID, TITLE, text, "Back up (playbooks/daily.yml --tags backup).", **common)
    size = human(sum(entry.size for entry in repository.objects.values()))
    what = plural(len(members), "recovery point has", "recovery points have")
    text = f"{what} all they need, with the recorded sizes and ETags; the repository has {size}."
    return Check(ID, TITLE, OK, len(members), message=text, **common)


def _first(problems: List[str]) -> str:
    return "; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else "")
