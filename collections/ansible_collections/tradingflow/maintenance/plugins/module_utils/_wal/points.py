# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery points of an environment, read from the store; which archive each server's WAL is in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from .._recovery_points import store
from .._storage.read import fetch
from ..storage import storage_errors
from .repository import Archive, Repository
from .server import Server


@dataclass
class Points:
    """Finished recovery points, newest first.

    :param unreadable: id -> why
    """

    all: List[Dict[str, Any]] = field(default_factory=list)
    unreadable: Dict[str, str] = field(default_factory=dict)

    def of(self, engine: str) -> List[Dict[str, Any]]:
        """Those of an engine."""
        return [point for point in self.all if point["engine"]["name"] == engine]


def read(s3: Any, storage: Dict[str, Any], environment_name: str) -> Points:
    """Reads all recovery points.

    :raises StorageError: the store does not answer
    """
    prefix, found = store.prefix_of(storage, environment_name), Points()

    def body(run_id: str) -> Tuple[str, Optional[bytes]]:
        key = f"{prefix}/{run_id}/{store.NAME}"
        with storage_errors(storage, f"reading {key}"):
            source = fetch(s3, storage, key)
            return run_id, None if source is None else source.read()

    with ThreadPoolExecutor(8) as pool:
        for run_id, text in pool.map(body, store.run_ids(s3, storage, prefix)):
            if text is None:
                continue
            try:
                found.all.append(store.parse(text, prefix, run_id))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                found.unreadable[run_id] = f"{type(error).__name__}: {error}"
    return found


def in_repository(points: Points, repository: Repository) -> List[Dict[str, Any]]:
    """The physical ones that lie in this repository and stanza."""
    return [
        point
        for point in points.of("pgbackrest")
        if (point["engine"]["repository_path"], point["engine"]["stanza"]) == (repository.path, repository.stanza)
    ]


def archive_of(server: Server, repository: Repository, points: List[Dict[str, Any]]) -> Optional[Archive]:
    """The archive of a server's WAL: recovery points name cluster and archive, else its version tells.

    :param points: physical ones of this repository
    """
    known = {point["engine"]["archive_id"]: point["database"]["system_identifier"] for point in points}
    fitting = [
        archive
        for archive in repository.archives.values()
        if known.get(archive.id, server.identifier) == server.identifier or not server.identifier
        if archive.id.split("-")[0] == str(server.version)
    ]
    return max(fitting, key=lambda archive: int(archive.id.split("-")[1]), default=None)
