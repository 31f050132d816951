# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a host is the one whose cluster is to be restored."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from .._pgbackrest import configuration
from .._postgres.cluster import Cluster
from ..errors import ConfigurationError
from ..refusal import Refusal
from . import directories, guards


def of_host(
    options: Dict[str, Any], point: Dict[str, Any], cluster: Cluster, live: Optional[Dict[str, Any]]
) -> List[Refusal]:
    """Whether this is the cluster's host, and its directory can be replaced.

    :param live: what the server that answers says of itself
    """
    found: List[Refusal] = []
    setting, theirs, directory = options["cluster"], options["pgbackrest"], cluster.directory
    content = configuration.read(theirs["config_file"]) or ""
    ours = configuration.parsed(content).get(theirs["stanza"], {}).get("pg1-path", "").rstrip("/")
    if ours != directory and not setting["elsewhere"]:
        text = f"pgBackRest's stanza {theirs['stanza']} on this host is of {ours or 'no directory'},"
        text += f" not {directory}."
        remedy = "It is the wrong host or directory: correct restore_cluster, or say elsewhere: true in it."
        found.append(Refusal("host", text, remedy))
    if live and not setting["elsewhere"] and live["data_directory"].rstrip("/") != directory:
        text = f"The server that answers has the directory {live['data_directory']}, the inventory says {directory}."
        found.append(Refusal("server", text, "Correct restore_database or restore_cluster: it is the wrong server."))
    try:
        directories.check_place(directory)
    except ConfigurationError as error:
        found.append(Refusal("directory", error.message, error.remedy))
    there, recorded = cluster.system_identifier(), point["database"]["system_identifier"]
    expected = options.get("system_identifier") or recorded
    if there and there != expected:
        text = f"The cluster in {directory} has the system identifier {there}, not {expected}."
        remedy = "It is the wrong host or directory, or another cluster since the recovery point, as after an upgrade:"
        remedy += f" correct restore_cluster or choose a newer recovery point, {guards.insist('other_cluster')}."
        found.append(Refusal("server", text, remedy, "other_cluster"))
    return found
