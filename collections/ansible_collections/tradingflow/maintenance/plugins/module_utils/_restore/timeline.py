# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""On which timeline a target is: chosen once, by what the archived log tells, and pinned for all that follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, List, Optional

from .._pgbackrest.timelines import Timeline, Tree, end_of, place
from .._postgres.replay import number
from ..errors import ConfigurationError, RestoreError
from .loss import iso
from .target import Target

_AUTO, _NEWEST = "auto", "latest"


@dataclass
class Choice:
    """The timeline that the log is followed to.

    :param current: the one the database is on; None when that is not known
    :param others: timelines on which the same target is something else
    """

    number: int
    tree: Tree
    current: Optional[int]
    others: List[int] = field(default_factory=list)

    @property
    def words(self) -> str:
        """For people."""
        text = f"timeline {self.number}"
        if self.current is not None and self.number != self.current:
            text += f" (the database is on timeline {self.current} now)"
        if self.others:
            names = ", ".join(map(str, self.others))
            text += f"; the target exists on timeline {names} too: restore_target_timeline={self.others[0]}"
        return text


def choose(tree: Tree, target: Target, asked: str, current: Optional[int], own: int = 0) -> Choice:
    """The timeline of a target.

    :param asked: auto, latest, or a number
    :param current: the timeline that the database is on; None when nobody knows
    :param own: the timeline of a restore point that a recovery point names, 0 when it is no such
    :raises ConfigurationError: there is no such timeline, or the target is on none
    """
    chosen = Choice(0, tree, current)
    if asked not in (_AUTO, _NEWEST):
        chosen.number = _asked(tree, asked)
        return chosen
    end = tree.newest() if current is None else current
    if end not in tree.lines:
        raise ConfigurationError(
            f"The database is on timeline {end}, of which nothing is in the archive {tree.archive.id} yet.",
            "See that it archives (pg_stat_archiver), or name another timeline (restore_target_timeline).",
        )
    if asked == _NEWEST:
        chosen.number = tree.newest()
    elif own in tree.lines:
        chosen.number = own
    elif len(tree.lines) == 1:
        chosen.number = end
    elif target.at:
        tree.timed()
        found = _with_time(tree, target.at, end)
        chosen.number, chosen.others = found[0], found[1:]
    elif target.type == "lsn":
        found = _with_place(tree, number(target.value), end, tree.size())
        chosen.number, chosen.others = found[0], found[1:]
    else:
        chosen.number = end
    _check_there(tree, chosen.number)
    return chosen


def _asked(tree: Tree, asked: str) -> int:
    """The timeline that somebody named: decimal, or hexadecimal as in names of files."""
    try:
        wanted = int(asked, 16 if asked.lower().startswith("0x") else 10)
    except ValueError:
        raise ConfigurationError(
            f"{asked!r} is not a timeline.", "Set restore_target_timeline to a number, to auto, or to latest."
        ) from None
    _check_there(tree, wanted)
    return wanted


def _check_there(tree: Tree, wanted: int) -> None:
    if wanted not in tree.lines or not tree.lines[wanted].there:
        known = ", ".join(str(each.number) for each in tree.lines.values() if each.there)
        raise ConfigurationError(
            f"The archive {tree.archive.id} has no history file of timeline {wanted}; it knows {known}.",
            "Choose one of these (restore_target_timeline), or see why the file was not archived.",
        )


def _with_time(tree: Tree, at: datetime, end: int) -> List[int]:
    """Timelines on which a time is, the one on the current line of history first.

    :raises ConfigurationError: it is on none, or that cannot be told
    """
    current = tree.lineage(end)
    having = [each.number for each in tree.lines.values() if _has(each, at, end)]
    unclear = [tree.lines[each] for each in current if tree.lines[each].why]
    if unclear:
        raise ConfigurationError(
            f"On which timeline {iso(at)} is cannot be told, as timeline {unclear[0].number} tells no times:"
            f" {unclear[0].why}",
            f"Name the timeline yourself (restore_target_timeline). {windows_text(tree)}",
        )
    # Of the current line of history the youngest that had begun by then.
    first = [each for each in current if each in having][-1:]
    if not having:
        raise ConfigurationError(
            f"{iso(at)} is on no timeline of the archive {tree.archive.id}: none had begun by then and has a later"
            " transaction, which would show that the target was reached.",
            "Choose another target, or the end of a timeline (restore_target_type=latest and restore_target_timeline)."
            f" {windows_text(tree)}",
        )
    return first + sorted((each for each in having if each not in first), reverse=True)


def _has(line: Timeline, at: datetime, end: int) -> bool:
    """Whether a time is on a timeline's own part. The current one goes on: its end is where the replay finds it."""
    if not line.there or line.why:
        return False
    begun = not line.parent or (line.begins is not None and line.begins <= at)
    return begun and (line.number == end or (line.ends is not None and at < line.ends))


def _with_place(tree: Tree, wanted: int, end: int, size: int) -> List[int]:
    """Timelines on which a place in the log is; on the way to the current one it is what it was."""
    having = [each.number for each in tree.lines.values() if each.switch < wanted <= end_of(each, size)]
    here = tree.on(end, wanted)
    if here in having:
        return [end, *sorted((each for each in having if each != here), reverse=True)]
    return sorted(having, reverse=True) or [end]


def proven(choice: Choice, target: Target, backup: int, reached: str, committed: Optional[datetime]) -> Dict[str, Any]:
    """That a replay that stopped stands where the target is.

    :param backup: the timeline that the backup was made on
    :param reached: the end of the last record that was replayed
    :param committed: time of the last transaction
    :returns: details for a check
    :raises RestoreError: it stands somewhere else
    """
    tree, at = choice.tree, target.at
    timeline = tree.on(choice.number, number(reached))
    details = {"timeline": timeline, "followed_to": choice.number, "lsn": reached}
    if not at:
        if target.type == "lsn" and number(reached) < number(target.value):
            raise RestoreError(f"The recovery stopped at {reached}, before {target.value}.", _look(tree))
        return details
    if committed and committed > at:
        raise RestoreError(
            f"The recovery stopped at {reached}, after a transaction of {iso(committed)}: it went beyond {iso(at)}.",
            "The clock of the server went backwards: choose a place in the log (restore_target_type=lsn).",
        )
    tree.timed([timeline])
    line = tree.lines[timeline]
    details["begins"] = iso(line.begins) if line.begins else None
    # A backup that ended before the target proves that its own timeline was there by then.
    if timeline == backup or not line.parent or (line.begins and line.begins <= at):
        return details
    begun = f"began at {iso(line.begins)}" if line.begins else "does not tell when it began"
    raise RestoreError(
        f"{iso(at)} is not on timeline {choice.number}: the recovery stopped at {reached} on timeline {timeline}, which"
        f" {begun} and left timeline {line.parent} at {place(line.switch)}.",
        _look(tree, at),
    )


def _look(tree: Tree, at: Optional[datetime] = None) -> str:
    tree.timed()
    having = [each.number for each in tree.lines.values() if at and each.ends and _has(each, at, 0)]
    if having:
        return f"Timeline {having[-1]} has it: set restore_target_timeline={having[-1]}, or leave it at auto."
    return f"Choose another target. {windows_text(tree)}"


def windows(tree: Tree, current: Optional[int]) -> List[Dict[str, Any]]:
    """All timelines for the plan: timeline, parent, switch, reason, from and to (times, or None), current, note."""
    tree.timed()
    return [
        {
            "timeline": line.number,
            "parent": line.parent or None,
            "switch": place(line.switch) if line.parent else None,
            "reason": line.reason,
            "from": iso(line.begins) if line.begins else None,
            "to": iso(line.ends) if line.ends else None,
            "current": line.number == current,
            "note": line.why or ("" if line.there else "its history file is gone: it cannot be followed to"),
        }
        for line in tree.lines.values()
    ]


def words_of(each: Dict[str, Any], since: Optional[str] = None) -> str:
    """One of windows in words.

    :param since: the end of the oldest backup, from where on the first timeline can be reached
    """
    text = f"timeline {each['timeline']}"
    text += f" (left {each['parent']} at {each['switch']})" if each["parent"] else ""
    text += " (current)" if each["current"] else ""
    if each["note"]:
        return f"{text}: {each['note']}"
    begins = each["from"] or (since if not each["parent"] else None)
    if not each["to"] or (begins and each["to"] <= begins):
        return f"{text}: no transaction archived" + (f" since {begins}" if begins else "")
    return f"{text}: {f'from {begins} ' if begins else ''}to {each['to']}"


def windows_text(tree: Tree) -> str:
    """What can be reached, for a remedy."""
    return f"The archive has {'; '.join(words_of(each) for each in windows(tree, None))}."
