# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the WAL in the repository has gaps, and which recovery points cannot be brought to a later time for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List

from .._pgbackrest.wal import number
from ..checks import CRITICAL, OK, WARNING, Check, unknown
from ..words import plural
from . import names
from .repository import Archive, Repository

ID, TITLE = "backups.wal_gaps", "WAL without gaps"

_REMEDY = (
    "Find out who deleted it; bring it back from older versions of the objects where the bucket keeps them, else make "
    "a full backup now: from there on every moment can be restored again."
)


@dataclass
class Sequence:
    """The WAL of one archive, from its oldest recovery point on.

    :param size: bytes of a segment
    :param first, last: names of the first that is needed and of the newest
    :param holes: what is missing
    :param histories: timelines whose history file is missing
    :param ends: id of a recovery point -> name of the segment it can be brought to at most
    """

    archive: str
    size: int
    first: str
    last: str
    count: int
    holes: List[names.Hole]
    histories: List[int]
    ends: Dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        return sum(hole.length for hole in self.holes)


def sequence(archive: Archive, points: List[Dict[str, Any]], size: int) -> Sequence:
    """Looks for gaps.

    :param points: recovery points of this archive, newest first; at least one
    :param size: bytes of a segment
    """
    start = min((point["engine"]["wal_start"] for point in points), key=lambda each: (each[:8], number(each, size)))
    found = names.holes(archive.segments, start, size)
    needed = [each for each in archive.segments if names.timeline(each) >= names.timeline(start)]
    lines = {names.timeline(each) for each in needed}
    result = Sequence(
        archive.id,
        size,
        start,
        max(needed, key=lambda each: (each[:8], number(each, size)), default=start),
        len(needed),
        found,
        sorted(line for line in lines - archive.histories if line > names.timeline(start)),
    )
    for point in points:
        line, begins = names.timeline(point["engine"]["wal_start"]), number(point["engine"]["wal_start"], size)
        after = [hole for hole in found if hole.timeline >= line and hole.last >= begins]
        if after:
            first = min(after, key=lambda hole: hole.first)
            result.ends[point["id"]] = names.name(line, max(first.first - 1, 0), size)
    return result


def measure(repository: Repository, points: List[Dict[str, Any]], sizes: Dict[str, int], source: str) -> Check:
    """The check.

    :param points: physical ones of this repository, newest first
    :param sizes: bytes of a segment by archive
    """
    if not points:
        text = f"There is no recovery point in the repository {repository.path}, from which WAL would be needed."
        return unknown(ID, TITLE, text, "Back up (playbooks/daily.yml --tags backup).", source=source)
    sequences, lost = [], []
    for id in sorted({point["engine"]["archive_id"] for point in points}):
        members = [point for point in points if point["engine"]["archive_id"] == id]
        archive = repository.archives.get(id)
        if archive is None or not archive.segments:
            lost.append(f"the archive {id} of {plural(len(members), 'recovery point')} is gone")
            continue
        sequences.append(sequence(archive, members, sizes[id]))
    return _judged(repository, sequences, lost, points, source)


def _judged(
    repository: Repository,
    sequences: List[Sequence],
    lost: List[str],
    points: List[Dict[str, Any]],
    source: str,
) -> Check:
    missing = sum(each.missing for each in sequences)
    ends = {id: end for each in sequences for id, end in each.ends.items()}
    details: Dict[str, Any] = {
        "sequences": [
            {"archive": each.archive, "first": each.first, "last": each.last, "segments": each.count}
            for each in sequences
        ],
        "missing": [name for each in sequences for name in names.listed(each.holes, each.size, 50)][:50],
        "not_beyond": dict(list(ends.items())[:50]),
    }
    problems = list(lost)
    for each in sequences:
        if each.holes:
            first = ", ".join(names.listed(each.holes, each.size))
            more = f" and {each.missing - 5} more" if each.missing > 5 else ""
            problems.append(f"{plural(each.missing, 'segment')} of {each.archive} missing: {first}{more}")
        problems += [f"{line:08X}.history of {each.archive} is missing" for line in each.histories]
    twice = [name for archive in repository.archives.values() for name in archive.twice]
    empty = [name for archive in repository.archives.values() for name in archive.empty]
    problems += [f"{name} is empty" for name in empty[:5]]
    if twice:
        problems.append(f"{twice[0]} is there with different contents: two servers archive into one place")
    if not problems:
        parts = [f"{each.archive} from {each.first} to {each.last} ({each.count:,})" for each in sequences]
        text = f"No segment is missing: {'; '.join(parts)}."
        return Check(ID, TITLE, OK, 0, message=text, source=source, details=details)
    text = f"The WAL in {repository.path} is not whole: {'; '.join(problems)}."
    # What the newest recovery point needs is what a restore would be made from.
    bad = bool(lost or points[0]["id"] in ends or twice or any(each.histories for each in sequences))
    if ends:
        text += f" Not to be brought beyond it: {', '.join(list(ends)[:3])}"
        text += f" and {len(ends) - 3} more." if len(ends) > 3 else "."
    status = CRITICAL if bad else WARNING
    return Check(ID, TITLE, status, missing, message=text, remedy=_REMEDY, source=source, details=details)
