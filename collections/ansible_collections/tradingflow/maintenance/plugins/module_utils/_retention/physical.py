# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What retention means for physical backups: which of them go, and which points in time stay reachable."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Iterable, List, NamedTuple, Set, Tuple

from .._ledger.points import Known
from .._wal import gaps, names
from .._wal.repository import Repository
from .inventory import Facts

#: A backup by its label, with its repository.
DELETED, UNFINISHED = "its recovery point was deleted", "no recovery point was ever made of it"


class Window(NamedTuple):
    """Every moment in it can be restored.

    :param archive: of which cluster, e.g. 15-1
    """

    begins: datetime
    ends: datetime
    archive: str

    def as_dict(self) -> Dict[str, str]:
        """For the report."""
        begins, ends = (f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in (self.begins, self.ends))
        return {"from": begins, "to": ends, "archive": self.archive}


@dataclass
class Backups:
    """Physical backups of which no recovery point that stays knows.

    :param going: label -> why
    :param staying: label -> why it stays all the same
    """

    going: Dict[str, str] = field(default_factory=dict)
    staying: Dict[str, str] = field(default_factory=dict)


def windows(repository: Repository, facts: Iterable[Facts]) -> List[Window]:
    """Points in time that can be reached from recovery points, over the WAL that is there."""
    by_archive: Dict[str, List[Facts]] = {}
    for each in facts:
        if each.physical and (each.engine["repository_path"], each.engine["stanza"]) == (
            repository.path,
            repository.stanza,
        ):
            by_archive.setdefault(each.engine["archive_id"], []).append(each)
    result: List[Window] = []
    for id, members in sorted(by_archive.items()):
        archive = repository.archives.get(id)
        if archive is None or not archive.segments:
            continue
        points = [{"id": each.label, "engine": each.engine} for each in members]
        found = gaps.sequence(archive, points, names.guessed_size(archive.segments))
        own: List[Window] = []
        for each in sorted(members, key=_reached):
            end = found.ends.get(each.label, found.last)
            if end[8:] < each.engine["target_wal"][8:]:
                # Not even its own restore point can be reached.
                continue
            last = archive.segments.get(end)
            begins = _reached(each)
            ends = max(last.at.astimezone(timezone.utc), begins) if last else begins
            if own and begins <= own[-1].ends:
                own[-1] = own[-1]._replace(ends=max(ends, own[-1].ends))
            else:
                own.append(Window(begins, ends, id))
        result += own
    return result


def _reached(facts: Facts) -> datetime:
    text = str(facts.engine["restore_point_at"]).rstrip("Z").split(".", maxsplit=1)[0]
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)


def made_at(label: str) -> datetime:
    """When a backup was made, by its label; the host's local time, which is UTC give or take half a day."""
    text = label.split("_")[-1][:15]
    return datetime.strptime(text, "%Y%m%d-%H%M%S").replace(tzinfo=timezone.utc)


def unnamed(repository: Repository, facts: Iterable[Facts]) -> Set[str]:
    """Labels in the repository that no recovery point names or needs."""
    needed = {label for each in facts for label in (each.label, *each.requires)}
    return {label for label in repository.labels if _full(repository, label) not in needed}


def backups(
    repository: Repository,
    staying: List[Facts],
    going: List[Facts],
    known: Known,
    removed: List[str],
    oldest: timedelta,
    now: datetime,
) -> Backups:
    """Which physical backups go.

    :param staying, going: recovery points by their fate
    :param removed: recovery points that somebody else deleted
    :param oldest: age from which on a backup without recovery point was never finished
    """
    result = Backups()
    expected = known.expired | {each.label for each in going}
    for label in sorted(unnamed(repository, staying)):
        if _full(repository, label) in expected:
            result.going[label] = DELETED
        elif label in known.backups:
            result.staying[label] = f"its recovery point {known.backups[label]} was deleted by somebody else"
        elif not known.complete or removed:
            result.staying[label] = "the ledger or the bucket cannot say whether it had a recovery point"
        elif now - made_at(label) <= oldest:
            result.staying[label] = "it may still be under way"
        else:
            result.going[label] = UNFINISHED
    spare(repository, result)
    return result


def spare(repository: Repository, found: Backups) -> None:
    """What is made from one that stays may go, not what one that stays is made from.

    Of one without a recovery point nobody says which it was made from: all of its chain that are older count.
    """
    # Newest first, a full one last: what stays keeps those before it.
    for label in sorted(found.going, reverse=True, key=lambda each: ("_" in each, each)):
        if "_" in label:
            chain = label.split("_")[0] + "_"
            needing = [each for each in found.staying if each.startswith(chain) and each[-1] == "I" and each > label]
        else:
            needing = [each for each in repository.labels if each.startswith(f"{label}_") and each not in found.going]
        if needing:
            found.staying[label] = f"needed by {min(needing)}"
            del found.going[label]


def _full(repository: Repository, label: str) -> str:
    return f"{repository.path}/{repository.stanza}/{label}"


def entries(repository: Repository, labels: Iterable[Tuple[str, str]]) -> List[Dict[str, Any]]:
    """Backups for a record of the ledger.

    :param labels: label and why it goes
    """
    return [
        {
            "backup": _full(repository, label),
            "bytes": sum(
                each.size for key, each in repository.objects.items() if key.startswith(repository.backup(label))
            ),
            "why": why,
        }
        for label, why in labels
    ]
