# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the WAL arrives: the repository against what the server says it archived, against what it writes now."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from .._pgbackrest.wal import number
from ..checks import CRITICAL, STATUSES, UNKNOWN, WARNING, Check, judge, unknown
from ..words import plural, printable, span
from . import names
from .repository import Archive, Repository
from .server import Server

ID, TITLE = "backups.wal_archived", "WAL in the repository"

_PRIMARY = "Set backup_database to the primary."
_LOGS = "Read PostgreSQL's and pgBackRest's logs on the database's host."
_SETUP = "Run playbooks/backup_setup.yml on the database's host."

#: Status, what was found, what to do.
Finding = Tuple[str, str, str]


def off(server: Server) -> Optional[Finding]:
    """Why the server archives nothing at all, None when it does or that cannot be seen."""
    if server.settings.get("archive_mode") == "off":
        return CRITICAL, "The server does not archive its WAL (archive_mode is off).", _SETUP
    empty = server.settings.get("archive_command") in ("", "(disabled)")
    if empty and not server.settings.get("archive_library"):
        return CRITICAL, "The server archives no WAL: archive_command is empty.", _SETUP
    return None


def nowhere(server: Server, archive: Archive) -> Optional[Finding]:
    """That the server says it archived what the repository does not have. Asked before the repository was listed."""
    claimed = server.archived or ""
    # A file of a backup's beginning or of a timeline is named after its segment or its timeline.
    segment = claimed[:24] if names.is_segment(claimed[:24]) else ""
    if claimed.endswith(".history") and not claimed.startswith("0" * 8):
        there = int(claimed[:8], 16) in archive.histories
    elif claimed.endswith(".partial"):
        there = segment in archive.partial
    elif claimed.endswith(".backup"):
        # It comes before its segment does.
        return None
    else:
        there = not segment or segment in archive.segments
    if there:
        return None
    newest = max(archive.segments, default="nothing")
    return (
        CRITICAL,
        f"The server says that it archived {printable(claimed)}, and the repository does not have it: its newest is "
        f"{newest}. The WAL goes somewhere else, or was lost or deleted.",
        "Compare archive_command with the repository (playbooks/backup_setup.yml --check --diff), then make a full "
        "backup: what is lost cannot be archived again.",
    )


def age(server: Server, repository: Repository, archive: Archive) -> Tuple[float, int]:
    """Seconds since the newest change that the repository surely has, and how many whole segments it lacks.

    Of the segment that is being written the server promises, by archive_timeout, that it is no older: an idle server
    writes nothing and archives nothing.
    """
    line, current = names.timeline(server.current), number(server.current, server.segment)
    places = {each: number(each, server.segment) for each in archive.segments}
    reaching = {each: place for each, place in places.items() if names.timeline(each) == line and place <= current}
    certain = bool(reaching)
    if not reaching:
        # A timeline of which nothing arrived yet: what others have from its beginning on is another history.
        own = [number(each, server.segment) for each in server.written if names.timeline(each) == line]
        begins = min([place for place in own if place <= current], default=current)
        reaching = {each: place for each, place in places.items() if names.timeline(each) < line and place < begins}
        certain = bool(own)
    if not reaching:
        return float("inf"), current + 1
    newest = max(reaching, key=lambda each: (reaching[each], each))
    behind = max(0, current - reaching[newest] - 1)
    entry = archive.segments[newest]
    ages = [((repository.clock or entry.at) - entry.at).total_seconds()]
    # After a standstill a segment arrives long after its last change: pg_wal knows when that was.
    following = names.name(line, reaching[newest] + 1, server.segment)
    for each in (newest, following) if behind else ():
        if each in server.written:
            ages.append((server.now - server.written[each]).total_seconds())
    seconds = max(0.0, *ages)
    if certain and not behind and not server.failing and server.timeout:
        seconds = min(seconds, float(server.timeout))
    return seconds, behind


def judged(
    server: Server, repository: Repository, archive: Optional[Archive], limit: Dict[str, Any], source: str
) -> Check:
    """The check, when both were asked.

    :param limit: warning and critical, in s
    :param archive: of this server, None when the repository has none
    """
    common: Dict[str, Any] = {"unit": "s", **limit, "source": source, "details": _details(server, archive)}
    if server.standby:
        return unknown(
            ID, TITLE, "The database is a standby, which does not say what the primary archives.", _PRIMARY, **common
        )
    problem = off(server) or _absent(server, repository, archive)
    if problem or archive is None:
        status, text, remedy = problem or (UNKNOWN, "There is no archive.", _SETUP)
        return Check(ID, TITLE, status, None, message=text, remedy=remedy, **common)
    lost = nowhere(server, archive)
    if lost:
        return Check(ID, TITLE, CRITICAL, None, message=lost[1], remedy=lost[2], **common)
    seconds, behind = age(server, repository, archive)
    common["details"]["segments_behind"] = behind
    if seconds == float("inf"):
        text = f"The archive {archive.id} has no WAL of this server: it writes {server.current}."
        return Check(ID, TITLE, CRITICAL, None, message=text, remedy=_SETUP, **common)
    text = f"All WAL older than {span(seconds)} is in the repository"
    text += f", which lacks {plural(behind, 'whole segment')}." if behind else "."
    check = judge(ID, TITLE, round(seconds), message=text, remedy=_LOGS, **common)
    return _with(check, [*_of_statistics(server, behind), *_of_settings(server, limit)])


def _absent(server: Server, repository: Repository, archive: Optional[Archive]) -> Optional[Finding]:
    """That the repository has no place for this server's WAL."""
    if archive:
        return None
    if not repository.there and not repository.stanzas:
        return CRITICAL, repository.nothing(), f"If they were never set up: {_SETUP}"
    if not repository.there:
        others = ", ".join(printable(each, 40) for each in repository.stanzas[:5]) or "none"
        text = f"The repository {repository.path} has no stanza {repository.stanza}; it has {others}."
        return CRITICAL, text, f"Correct backup_pgbackrest_stanza. {_SETUP}"
    ids = ", ".join(sorted(repository.archives)) or "none"
    text = f"The stanza {repository.stanza} has no WAL of this server, which is of version {server.version}: it has "
    return CRITICAL, f"{text}{ids}.", "After a major upgrade, upgrade the stanza (backup_pgbackrest_upgrade_stanza)."


def _of_statistics(server: Server, behind: int) -> List[Finding]:
    found: List[Finding] = []
    if server.failing:
        text = f"Archiving {printable(server.failed)} fails, last at {server.failed_at:%Y-%m-%dT%H:%M:%SZ}, "
        found.append((WARNING, f"{text}{plural(server.failed_count, 'failure')} in all.", _LOGS))
    elif server.archived is None and behind:
        when = f" at {server.reset_at:%Y-%m-%dT%H:%M:%SZ}" if server.reset_at else ""
        text = f"The server's statistics of archiving were reset{when}: whether it archives just now is not known."
        found.append((UNKNOWN, text, "Run again when the next segment was archived."))
    return found


def _of_settings(server: Server, limit: Dict[str, Any]) -> List[Finding]:
    if "archive_command" not in server.settings:
        text = "The user may not see archive_command."
        return [(UNKNOWN, text, "Grant it pg_monitor (playbooks/backup_setup.yml does).")]
    longest, timeout = limit["critical"], server.timeout
    if not timeout:
        text = "archive_timeout is 0: a quiet server may leave its last changes unarchived indefinitely."
        return [(WARNING, text, _SETUP)]
    if longest is not None and timeout > longest:
        text = f"archive_timeout is {span(timeout)}, more than the {span(longest)} that may be lost."
        return [(WARNING, text, _SETUP)]
    return []


def _with(check: Check, more: List[Finding]) -> Check:
    """A check with further findings: the worst counts."""
    for status, text, remedy in more:
        check.message = f"{check.message} {text}"
        if STATUSES.index(status) > STATUSES.index(check.status):
            check.status, check.remedy = status, remedy
    return check


def without_repository(server: Server, limit: Dict[str, Any], why: str, remedy: str, source: str) -> Check:
    """The check when the repository cannot be listed: what the server knows may be bad enough, and is never good.

    :param why: in one sentence
    """
    common: Dict[str, Any] = {"unit": "s", **limit, "source": source, "details": _details(server, None)}
    problem = off(server)
    if problem:
        return Check(ID, TITLE, problem[0], None, message=f"{problem[1]} {why}", remedy=problem[2], **common)
    since = server.archived_at or server.reset_at
    behind = server.failing or bool(server.current and server.archived and _later(server))
    seconds = (server.now - since).total_seconds() if since else 0
    text = f"{why} The server's last archived WAL is {printable(server.archived or 'unknown')}"
    text += f", {span(seconds)} old." if server.archived_at else "."
    if behind and limit["critical"] is not None and seconds >= limit["critical"]:
        return Check(ID, TITLE, CRITICAL, round(seconds), message=text, remedy=remedy, **common)
    return _with(unknown(ID, TITLE, text, remedy, **common), _of_statistics(server, 0))


def _later(server: Server) -> bool:
    segment = (server.archived or "")[:24]
    if not names.is_segment(segment):
        return False
    return number(server.current, server.segment) > number(segment, server.segment) + 1


def _details(server: Server, archive: Optional[Archive]) -> Dict[str, Any]:
    return {
        "writing": server.current or None,
        "last_archived": server.archived,
        "last_archived_at": server.archived_at,
        "last_failed": server.failed,
        "last_failed_at": server.failed_at,
        "failures": server.failed_count,
        "newest_in_repository": max(archive.segments, default=None) if archive else None,
        "archive": archive.id if archive else None,
        "archive_timeout": server.timeout,
    }
