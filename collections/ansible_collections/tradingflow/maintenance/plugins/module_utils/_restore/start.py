# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real start of a restored cluster: it must be what was looked at and promoted, and archive what follows."""

from __future__ import annotations

import time
from typing import Any, Callable, Optional

from .._pgbackrest import history
from .._pgbackrest.archive import Archive
from .._postgres import server
from .._postgres.cluster import until_primary
from .._postgres.logins import drop_roles, others
from .._postgres.readers import temporary
from .._postgres.replay import number
from ..checks import OK, WARNING, Check
from ..database import connected
from ..errors import DatabaseError, RestoreError
from . import collations, leftovers, loss
from .heartbeats import heartbeats, judged, locked, moved, unreadable
from .login import changed, digests
from .reach import end_segment
from .source import prepared, returned
from .state import State

#: What the recovery leaves in postgresql.auto.conf, and the server has no use for any more.
_LEFT = (
    *("recovery_target", "recovery_target_time", "recovery_target_lsn", "recovery_target_name"),
    *("recovery_target_action", "recovery_target_timeline", "recovery_target_inclusive", "restore_command"),
)
#: Seconds that the first segment of a new timeline has to get into the archive.
_PATIENCE = 180.0
_ARCHIVED = "New timeline archived"


def begin(mode: Any, job: Any, state: State) -> None:
    """Starts the server, and looks at it once more.

    :param mode: see physical.PointInTime
    :raises RestoreError: it does not come up, or is not what was looked at
    """
    job.progress.phase("start")
    database, cluster = mode.options["database"], mode.cluster
    cluster.start(int(database["port"]))
    facts = until_primary(database, int(mode.setting["start_timeout"]), cluster.running, job.progress.tick)
    if facts["data_directory"].rstrip("/") != cluster.directory:
        raise RestoreError(
            f"The server that answers has the directory {facts['data_directory']}, not {cluster.directory}.",
            "Two servers fight for the port: stop the other one, then run the restore again.",
        )
    with connected(database, pinned=True) as connection:
        server.run(connection, "SET default_transaction_read_only = off")
        for setting in _LEFT:
            server.run(connection, f"ALTER SYSTEM RESET {setting}")
        server.run(connection, "SELECT pg_reload_conf()")
        parent = _left(connection, facts["timeline"])
        segment = end_segment(connection)
        archives = server.value(connection, "SHOW archive_mode") != "off"
        found = prepared(connection)
        # Another cluster's passwords say nothing.
        if mode.source and mode.source.facts["system_identifier"] == facts["system_identifier"]:
            job.checks += changed(mode.source.passwords, digests(connection), database["user"])
        job.checks += collations.judged(collations.other(connection))
    if not mode.setting["elsewhere"]:
        leftovers.after_recovery(mode.options, job, state)
    mode.reached = mode.reached or state.run.get("reached")
    job.checks += returned(found)
    readable, at, later = True, None, 0
    try:
        at, later = _heartbeats(mode, job, state)
    except DatabaseError as error:
        if not (found and locked(error)):
            raise
        readable = False
    seen, now = state.run.get("heartbeat"), loss.iso(at) if at else None
    if readable and (later or now != seen):
        job.checks.append(moved(now, seen))
        return
    lsn = state.run.get("lsn")
    if mode.wanted.type != "latest" and parent and lsn and parent.switch != number(lsn):
        raise RestoreError(
            f"The started server left timeline {parent.timeline} at a different place than the one checked ({lsn}):"
            f" {parent.switch >> 32:X}/{parent.switch & 0xFFFFFFFF:X}.",
            "Stop it and look before anybody uses it; restore_abandon=true goes back to what was there.",
        )
    if mode.done:
        # How far the old one had come, which is not there to be asked any more.
        job.loss = state.run.get("loss") or job.loss
        details = {"target": mode.wanted.words, "lsn": lsn}
        job.checks += judged(mode.wanted, at, later, details) if readable else [unreadable(details)]
        if state.run.get("closed"):
            text, remedy = state.run["closed"]
            job.checks.append(Check("restore.closed", "Database open", WARNING, False, message=text, remedy=remedy))
    text = f"The server in {cluster.directory} is a primary on timeline {facts['timeline']}, recovered to"
    text += f" {mode.wanted.words}. Make a full backup now: this timeline has none."
    details = {**facts, "parent": parent.timeline if parent else None}
    job.checks.append(Check("restore.server", "Server in place", OK, facts["timeline"], message=text, details=details))
    if mode.setting["elsewhere"]:
        return
    if not archives:
        text = "The server does not archive (archive_mode is off): what happens from now on could not be recovered."
        remedy = "Run playbooks/backup_setup.yml before the application starts."
        job.checks.append(Check("restore.archived", _ARCHIVED, WARNING, None, message=text, remedy=remedy))
        return
    archive = Archive(mode.backrest, mode.repository, mode.backup.archive_id)
    job.checks.append(_archived(archive, facts["timeline"], segment, job.progress.tick))


def _heartbeats(mode: Any, job: Any, state: State) -> Any:
    """See heartbeats, by who is no superuser; what was seen before where nobody such is let in."""
    database, at = mode.options["database"], mode.wanted.at
    with connected(database, pinned=True) as connection, connection.cursor() as cursor:
        server.run(connection, "SET default_transaction_read_only = off")
        drop_roles(connection, server.prefix(job.place), owned=True)
        if not others(cursor):
            return heartbeats(database, at)
    if mode.options.get("reader"):
        try:
            return heartbeats({**database, **mode.options["reader"]}, at)
        except DatabaseError as error:
            # At the target it may have had another password, or not been there.
            if locked(error):
                raise
    try:
        with temporary(database, f"{server.temporary_name(job.place, job.run_id)}_r", beside=False) as found:
            return heartbeats(found, at)
    except RestoreError:
        return loss.moment(state.run.get("heartbeat")), 0


def _left(connection: Any, timeline: int) -> Optional[history.Ancestor]:
    """Where a server's timeline left its parent."""
    name = f"pg_wal/{timeline:08X}.history"
    body = server.value(connection, "SELECT pg_read_binary_file(%s, 0, 1 << 20, true)", (name,))
    return history.parse(bytes(body), timeline)[-1] if body else None


def _archived(archive: Archive, timeline: int, segment: str, tick: Callable[[], None]) -> Check:
    """Waits until the new timeline can be recovered, too: its history and its first segment."""
    id, title = "restore.archived", _ARCHIVED
    deadline = time.monotonic() + _PATIENCE
    while True:
        tick()
        archive.again()
        if timeline in archive.histories and segment in archive.segments(timeline):
            text = f"The archive has the history of timeline {timeline} and its first segment, {segment}."
            return Check(id, title, OK, segment, message=text)
        if time.monotonic() > deadline:
            text = f"{segment} of the new timeline {timeline} is not in the archive after {_PATIENCE:.0f} s: what"
            text += " happens from now on could not be recovered."
            remedy = "Read PostgreSQL's and pgBackRest's logs, and put archiving right before the application starts."
            return Check(id, title, WARNING, segment, message=text, remedy=remedy)
        time.sleep(0.5)
