# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which engine restores a recovery point, and the programs it needs.

An engine is a class with a name, the names of its programs, space(point), and on an object of it fetch(progress) and
bring_up(instance, tools, progress), which gives the name of the restored database.
"""

from __future__ import annotations

from typing import Any, Dict, Type

from .._backup import programs
from ..errors import ConfigurationError
from .logical import Logical

ENGINES = {Logical.name: Logical}


def engine_of(point: Dict[str, Any]) -> Type[Logical]:
    """The engine a recovery point was made with.

    :raises ConfigurationError: this version does not know it
    """
    name = str(point["engine"]["name"])
    if name not in ENGINES:
        raise ConfigurationError(
            f"The recovery point was made with the engine {name}, which this version cannot restore.",
            "Install a newer version of the collection.",
        )
    return ENGINES[name]


def tools(options: Dict[str, Any], engine: Type[Logical], point: Dict[str, Any]) -> Dict[str, str]:
    """Paths of the programs an engine needs.

    :raises ConfigurationError: one is missing, or they are too old
    """
    found: Dict[str, str] = {}
    for name in engine.programs:
        try:
            found[name] = programs.find(name, options.get("pg_bin_dir"))
        except ConfigurationError as error:
            raise ConfigurationError(
                error.message,
                "A drill needs the server's programs, not only the client's: install the PostgreSQL server's package,"
                " and set restore_drill_pg_bin_dir, e.g. to /usr/lib/postgresql/17/bin.",
            ) from None
    major, recorded = programs.version(found["postgres"])[0], int(point["database"]["server_version_num"]) // 10000
    if major < recorded:
        raise ConfigurationError(
            f"The programs are of PostgreSQL {major}, the recovery point of {recorded}: they cannot restore it.",
            f"Install PostgreSQL {recorded}, or point restore_drill_pg_bin_dir to it.",
        )
    return found
