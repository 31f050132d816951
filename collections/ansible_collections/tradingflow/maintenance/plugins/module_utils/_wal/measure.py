# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks of the watchdog, in the order in which what they read does not race: the server first, then the store."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..checks import Check, limits, unknown
from ..errors import MaintenanceError, StorageError
from ..storage import client
from . import archived, clocks, gaps, names, needs, points, repository
from .server import Server, ask


def measure(options: Dict[str, Any]) -> List[Check]:
    """The checks; what cannot be asked makes those unknown that need it.

    :param options: of backup_checks
    :raises ConfigurationError: an option makes no sense
    """
    storage, thresholds = options["storage"], options["thresholds"]
    where = options["pgbackrest"] or {"repository_path": "", "stanza": ""}
    path, stanza = where["repository_path"].strip("/"), where["stanza"]
    if not path or not options["database"]:
        text = "Which repository to watch, or which database archives into it, is not set."
        remedy = "Set backup_pgbackrest_repositories and backup_database."
        return [unknown(archived.ID, archived.TITLE, text, remedy)]
    source = f"s3://{storage['bucket']}/{path}/"
    limit, clock = limits(thresholds, "wal_age"), limits(thresholds, "clock")
    server: Optional[Server] = None
    silent: Optional[MaintenanceError] = None
    try:
        server = ask(options["database"])
    except MaintenanceError as error:
        silent = error
    checks = [clocks.of_database(server, clock, silent.message if silent else "", silent.remedy if silent else "")]
    try:
        s3 = client(storage, pool=8)
        found = points.read(s3, storage, options["environment_name"])
        listed = repository.look(s3, storage, path, stanza)
        if needs.of_files(listed):
            # pgBackRest may just have been writing them.
            listed = repository.look(s3, storage, path, stanza)
    except StorageError as error:
        return [*checks, *_unlisted(server, silent, error, limit, source)]
    members = points.in_repository(found, listed)
    own = points.archive_of(server, listed, members) if server else None
    if server:
        checks.append(archived.judged(server, listed, own, limit, source))
    elif silent:
        checks.append(unknown(archived.ID, archived.TITLE, silent.message, silent.remedy, source=source, **limit))
    sizes = {id: names.guessed_size(archive.segments) for id, archive in listed.archives.items()}
    if server and own:
        sizes[own.id] = server.segment
    checks.append(gaps.measure(listed, members, sizes, source))
    checks.append(needs.measure(listed, found, members, sizes, source))
    return checks


def _unlisted(
    server: Optional[Server],
    silent: Optional[MaintenanceError],
    error: MaintenanceError,
    limit: Dict[str, Any],
    source: str,
) -> List[Check]:
    """The checks when the store does not answer."""
    both = f"{error.message} {silent.message}" if silent else error.message
    first = unknown(archived.ID, archived.TITLE, both, error.remedy, source=source, **limit)
    if server:
        first = archived.without_repository(server, limit, error.message, error.remedy, source)
    others = ((gaps.ID, gaps.TITLE), (needs.ID, needs.TITLE))
    return [first, *(unknown(id, title, error.message, error.remedy, source=source) for id, title in others)]
