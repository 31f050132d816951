# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The timelines of the archives of a stanza, and the one that a recovery follows."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any, Dict, Optional, Tuple

from .._pgbackrest import timelines
from .._pgbackrest.archive import Archive
from .._postgres import server
from .._postgres.cluster import Cluster, version_in
from .._postgres.replay import number
from ..errors import ConfigurationError, DatabaseError, RestoreError
from . import loss
from .target import Target
from .timeline import Choice, choose


class Timelines:
    """What is known of them, read once.

    :ivar pinned: the timeline that an unfinished run chose, 0 for none
    """

    def __init__(self, options: Dict[str, Any], backrest: Any, wanted: Target) -> None:
        self._options = options
        self._backrest = backrest
        self._wanted = wanted
        self._choices: Dict[Tuple[str, int], Choice] = {}
        self._trees: Dict[str, timelines.Tree] = {}
        self.pinned = 0

    def of(self, backup: Any, point: Dict[str, Any]) -> Choice:
        """The timeline on which the target is, for recoveries from a backup.

        :raises ConfigurationError: it is on none
        """
        named = self._wanted.type == "name" and point["engine"]["restore_point"] == self._wanted.value
        own = int(point["engine"]["target_wal"][:8], 16) if named else 0
        key = backup.archive_id, own
        if key not in self._choices:
            tree = self._tree(backup.archive_id)
            current = self._current(backup.system_identifier, tree)
            if self.pinned:
                self._choices[key] = Choice(self.pinned, tree, current)
            else:
                asked = self._options["target_timeline"]
                self._choices[key] = choose(tree, self._wanted, asked, current, own)
        return self._choices[key]

    def _tree(self, id: str) -> timelines.Tree:
        if id not in self._trees:
            archive = Archive(self._backrest, int(self._options["pgbackrest"]["repository"]), id)
            self._trees[id] = timelines.load(archive)
        return self._trees[id]

    def _current(self, identifier: str, tree: timelines.Tree) -> Optional[int]:
        """The timeline that the database is on, running or not; None when it is gone, or is another cluster."""
        directory = str(self._options["cluster"]["data_directory"]).rstrip("/")
        database = {**self._options["database"], "connect_timeout": 5}
        with suppress(DatabaseError), server.elsewhere(database) as connection:
            facts = server.describe(connection)
            if facts["system_identifier"] != identifier or facts["recovering"]:
                return None
            name = server.value(connection, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
            return int(str(name)[:8], 16)
        major = version_in(directory)
        if major is None:
            return None
        with suppress(ConfigurationError, RestoreError):
            cluster = Cluster(self._options["cluster"], self._options.get("pg_bin_dir"), self._backrest.user, major)
            found = cluster.timeline() if cluster.system_identifier() == identifier else None
            # Promoted by a restore that did not end, nothing of it is in the archive.
            return found if found in tree.lines else None
        return None

    def again(self, choice: Choice) -> None:
        """Reads what was archived meanwhile; what was chosen stays chosen."""
        id = choice.tree.archive.id
        del self._trees[id]
        choice.tree = self._tree(id)

    @staticmethod
    def reach(backup: Any, choice: Choice) -> bool:
        """Whether a backup can be brought to the timeline that was chosen."""
        return choice.tree.reaches(choice.number, int(backup.wal_stop[:8], 16), number(backup.lsn_stop))

    @staticmethod
    def last(choice: Choice, size: int) -> int:
        """Where the newest archived segment of the chosen timeline begins, in bytes."""
        line = choice.tree.lines[choice.number]
        if not line.newest and not line.parent:
            raise RestoreError(
                f"The repository has no WAL of {choice.tree.archive.id} any more.", "Choose another recovery point."
            )
        return max(line.switch, timelines.end_of(line, size) - size) if line.newest else line.switch - 1

    @staticmethod
    def since(stanza: Any, archive_id: str) -> Optional[str]:
        """From when on anything can be reached: the end of the oldest backup."""
        ends = [each.stopped_at for each in stanza.backups if each.archive_id == archive_id]
        oldest: Optional[datetime] = min(ends, default=None)
        return loss.iso(oldest) if oldest else None
