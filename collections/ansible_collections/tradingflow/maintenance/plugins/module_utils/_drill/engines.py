# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which engine restores a recovery point, and the programs it needs."""

from __future__ import annotations

from typing import Any, Dict, Optional, Type

from .._postgres import programs
from .._postgres.programs import installed
from ..errors import ConfigurationError
from .base import Engine
from .logical import Logical
from .physical import Physical

ENGINES: Dict[str, Type[Engine]] = {engine.name: engine for engine in (Logical, Physical)}


def engine_of(point: Dict[str, Any]) -> Type[Engine]:
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


def tools(options: Dict[str, Any], engine: Type[Engine], point: Dict[str, Any]) -> Dict[str, str]:
    """Paths of the programs an engine needs, all from one place.

    After a major upgrade recovery points are of two versions: where the folder that is named cannot restore one, the
    distribution's programs of its own version do.

    :raises ConfigurationError: they are nowhere, not in the folder that is named, or all of a wrong version
    """
    recorded = int(point["database"]["server_version_num"]) // 10000
    named = options.get("pg_bin_dir") or None
    if named:
        _find(named, engine)
    first = None
    for place in [named, *installed(recorded, newer=not named)]:
        try:
            return _of(place, engine, recorded)
        except ConfigurationError as error:
            first = first or error
    raise first or ConfigurationError("There is no PostgreSQL server.")


def _find(place: Optional[str], engine: Type[Engine]) -> Dict[str, str]:
    try:
        return {name: programs.find(name, place) for name in engine.programs}
    except ConfigurationError as error:
        raise ConfigurationError(
            error.message,
            "A drill needs the server's programs, not only the client's: install the PostgreSQL server's package,"
            " or set restore_drill_pg_bin_dir to where they are.",
        ) from None


def _of(place: Optional[str], engine: Type[Engine], recorded: int) -> Dict[str, str]:
    found = _find(place, engine)
    major = programs.version(found["postgres"])[0]
    if major < recorded or (major > recorded and not engine.newer):
        raise ConfigurationError(
            f"The programs are of PostgreSQL {major}, the recovery point of {recorded}: they cannot restore it.",
            f"Install PostgreSQL {recorded}, or point restore_drill_pg_bin_dir to it.",
        )
    return found
