# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster beside the one it is a copy of: its settings are the source's, and must not act upon the source."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Dict, List, Sequence

from ..checks import OK, Check
from ..errors import ConfigurationError

#: Libraries that do nothing by themselves. Others may start jobs, connect to other servers or write files.
HARMLESS = (
    *("auth_delay", "auto_explain", "basic_archive", "passwordcheck", "pg_hint_plan", "pg_qualstats", "pg_show_plans"),
    *("pg_stat_kcache", "pg_stat_statements", "pg_wait_sampling", "pgaudit", "plpgsql_check", "set_user"),
)


def still(major: int) -> Dict[str, str]:
    """Settings of a server that only we look at: no event trigger of a login runs its function as our superuser."""
    return {"event_triggers": "off"} if major >= 17 else {}


def quiet(major: int) -> Dict[str, str]:
    """Settings with which a server neither archives nor runs commands nor connects to others."""
    found = {
        "archive_mode": "off",
        "archive_command": "",
        "archive_cleanup_command": "",
        "recovery_end_command": "",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "max_logical_replication_workers": "0",
        "external_pid_file": "",
    }
    # Debian keeps the statistics of a server before 15 in a folder that is named after the source.
    return {**found, **({"archive_library": ""} if major >= 15 else {"stats_temp_directory": "pg_stat_tmp"})}


def harmless(libraries: str, allowed: Sequence[str] = ()) -> str:
    """Those of the setting shared_preload_libraries that do nothing by themselves, or are wanted all the same."""
    names = [name.strip().strip('"') for name in libraries.split(",")]
    return ",".join(name for name in names if name.rpartition("/")[2] in (*HARMLESS, *allowed))


def append(directory: Path, text: str) -> None:
    """Writes settings after all others of a cluster that does not run."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(directory / "postgresql.auto.conf", flags), "a", encoding="utf-8") as file:
        file.write(text)


def own_settings(
    directory: Path, place: str, value: Callable[[Path, str], str], major: int, allowed: Sequence[str] = ()
) -> List[Check]:
    """Writes settings of the copy's own, which come after the source's.

    :param place: where the directory will be
    :param value: what the configuration says of a setting
    :param allowed: libraries that are loaded besides those that do nothing by themselves
    :returns: which libraries are not loaded, if any
    :raises ConfigurationError: the configuration is of another cluster
    """
    said = value(directory, "data_directory").rstrip("/")
    if os.path.realpath(said) not in (os.path.realpath(directory), os.path.realpath(place)):
        raise ConfigurationError(
            f"By its configuration the server would start on {said}, not on {place}.",
            "Name a configuration of the copy's own in restore_cluster.config_file.",
        )
    libraries = value(directory, "shared_preload_libraries")
    kept = harmless(libraries, allowed)
    settings = {**quiet(major), "shared_preload_libraries": kept}
    if os.path.isabs(value(directory, "log_directory")):
        settings["log_directory"] = "log"
    text = "".join(f"{name} = '{each}'\n" for name, each in settings.items() if "'" not in each)
    append(directory, f"# Of this copy: it does not act upon what it is a copy of.\n{text}")
    names = [name.strip().strip('"') for name in libraries.split(",")]
    silent = [name for name in names if name and name not in kept.split(",")]
    if not silent:
        return []
    message = f"The copy does not load {', '.join(silent)}: they may act by themselves."
    remedy = "If it needs one, name it in restore_cluster.libraries."
    return [Check("restore.libraries", "Libraries not loaded", OK, len(silent), message=message, remedy=remedy)]
