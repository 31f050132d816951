# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a recovery stands at, looked at before anything is put in place: by the log first, then by what is in it.

What is in it cannot be seen everywhere while the replay waits: a database may be closed, or a table locked by a
transaction that was open at the target. Such is looked at once the copy is promoted, still beside and out of reach.
"""

from __future__ import annotations

from typing import Any, Dict

from .._postgres import proof, server
from .._postgres.readers import reader, temporary
from ..checks import OK, WARNING, Check
from ..database import connected, quoted
from ..errors import DatabaseError, RestoreError
from . import loss
from .dropped import Closed
from .heartbeats import GLANCE, floor_of, heartbeats, judged, locked, unreadable
from .login import let_in
from .state import State
from .timeline import proven


class Proof:
    """Of one recovery.

    :param mode: see physical.PointInTime
    :param lsn: where the replay stopped
    """

    def __init__(self, mode: Any, job: Any, state: State, lsn: str) -> None:
        self._mode = mode
        self._job = job
        self._state = state
        self._lsn = lsn
        self._details: Dict[str, Any] = {}

    def place(self, home: Dict[str, Any]) -> None:
        """By the log alone: that it is the cluster, and stands at the target.

        :param home: the option "database" for a database of it that is always there
        :raises RestoreError: it is not, or does not
        """
        mode, lsn, point = self._mode, self._lsn, self._job.point
        with connected(home, pinned=True) as connection:
            there = server.describe(connection)["system_identifier"]
            committed = server.value(connection, "SELECT pg_last_xact_replay_timestamp()")
        recorded = point["database"]["system_identifier"]
        if there != recorded:
            raise RestoreError(
                f"The restored cluster has the system identifier {there}, the recovery point {recorded}.",
                "Choose another.",
            )
        stands = proven(mode.choice, mode.wanted, int(mode.backup.wal_stop[:8], 16), lsn, committed)
        mode.reached = f"{mode.wanted.words} ({lsn} on timeline {stands['timeline']})"
        self._state.note(lsn=lsn, reached=mode.reached)
        last = loss.iso(committed) if committed else None
        self._details = {**stands, "last_commit": last, "target": mode.wanted.words}
        text = f"The recovery stands at {lsn} on timeline {stands['timeline']}"
        text += f", its last transaction is of {last}." if last else ", without a transaction since the backup."
        self._job.checks.append(Check("restore.target", "Target reached", OK, lsn, message=text, details=self._details))

    def contents(self, database: Dict[str, Any], *, again: bool) -> bool:
        """By what is in it.

        :param again: whether it can be looked at later, too
        :returns: whether it could be looked at
        :raises RestoreError: it is not what it should be
        """
        if again:
            # While it replays no role can be made.
            found = reader(database, max(1, self._mode.options["jobs"]) + 1)
            return found is not None and self._contents(found, again=True)
        name = f"{server.temporary_name(self._job.place, self._job.run_id)}_r"
        with temporary(database, name, beside=True) as found:
            return self._contents(found, again=False)

    def _contents(self, database: Dict[str, Any], *, again: bool) -> bool:
        mode, job = self._mode, self._job
        try:
            at, later = heartbeats(database, mode.wanted.at, GLANCE if again else 0)
        except DatabaseError as error:
            if not locked(error):
                raise
            if again:
                return False
            self._state.note(heartbeat=None, loss=job.loss)
            job.checks.append(unreadable(self._details))
            return True
        self._state.note(heartbeat=loss.iso(at) if at else None)
        floor = floor_of(job.point, database["name"])
        job.checks += judged(mode.wanted, at, later, self._details, floor, mode.options["rpo"])
        if at and mode.wanted.type == "latest":
            job.loss = loss.between(mode.newest, at, "newest heartbeat restored")
        job.loss["heartbeat_at"] = loss.iso(at) if at else None
        self._state.note(loss=job.loss)
        exact = job.point["engine"].get("exact") and mode.wanted.value == job.point["engine"]["restore_point"]
        if exact and job.point["database"]["name"] == database["name"]:
            compared = proof.compare(database, job.point, mode.options["jobs"], job.progress.tick)
            job.checks += [proof.renamed(check) for check in compared]
        wrong = [check for check in job.checks if check.status == "critical"]
        if wrong:
            raise RestoreError(
                f"What was restored was not put in place: {wrong[0].message}", "The old one is untouched."
            )
        return True

    def login(self, home: Dict[str, Any]) -> None:
        """That whoever restores gets into the promoted copy."""
        database = self._mode.options["database"]
        with connected(home, pinned=True) as connection:
            self._job.checks += let_in(connection, database["user"], database.get("password"))

    def open_up(self, home: Dict[str, Any], name: str, closed: Closed) -> None:
        """Opens a database of the promoted copy that was closed at the target, and says so.

        :param home: the option "database" for another one of it
        """
        texts, remedies = [], []
        if closed.to_all:
            with connected(home, pinned=True) as connection:
                server.run(connection, "SET default_transaction_read_only = off")
                server.run(connection, f"ALTER DATABASE {quoted(name)} WITH ALLOW_CONNECTIONS true")
            texts.append(f"At the target the database {name} was closed to all connections (ALLOW_CONNECTIONS false).")
            texts.append("It was opened, as nothing could be proven in it otherwise, and is open now.")
            remedies.append(f"To close it again: ALTER DATABASE {quoted(name)} WITH ALLOW_CONNECTIONS false.")
        if closed.limit == 0:
            texts.append(f"At the target the database {name} took no connections but a superuser's")
            texts.append("(CONNECTION LIMIT 0): the application cannot connect.")
            remedies.append(f"To let it in: ALTER DATABASE {quoted(name)} WITH CONNECTION LIMIT -1.")
        text = " ".join(texts)
        remedy = f"See why it was closed, and whether a target before that is wanted. {' '.join(remedies)}"
        check = Check("restore.closed", "Database open", WARNING, False, message=text, remedy=remedy)
        self._state.note(closed=[text, remedy])
        self._job.checks.append(check)
