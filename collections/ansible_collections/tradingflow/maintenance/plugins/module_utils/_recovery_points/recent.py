# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recovery point to go back to, before something is changed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict

from .._work.job import Kind
from ..errors import ConfigurationError, MaintenanceError, RestoreError
from ..storage import client
from ..words import span
from .fetch import choose

#: A recovery point from further ahead says that a clock is wrong.
_CLOCK_TOLERANCE = 300
REMEDY = "Make a backup (playbooks/daily.yml --tags backup), then run it again."


class NoRecoveryPointError(MaintenanceError):
    """There is nothing to go back to."""


def recent(options: Dict[str, Any], database: Dict[str, Any], kind: Kind) -> Dict[str, Any]:
    """The newest recovery point: id, key, sha256, created_at.

    :param options: storage, environment_name, recovery_point_age in s
    :param database: name and system_identifier of the one that is changed
    :param kind: what changes it
    :raises NoRecoveryPointError: there is none of this database that is recent enough
    :raises StorageError: the store does not answer
    """
    try:
        chosen = choose(
            client(options["storage"]), options["storage"], options["environment_name"], "newest", kind=kind
        )
    except (ConfigurationError, RestoreError) as error:
        raise NoRecoveryPointError(f"There is nothing to go back to: {error.message}", REMEDY) from None
    point, of = chosen.point, chosen.point["database"]
    if chosen.unreadable:
        raise NoRecoveryPointError(
            f"The newest recovery point cannot be read: {', '.join(list(chosen.unreadable)[:3])}.", REMEDY
        )
    for part in ("name", "system_identifier"):
        if of.get(part) != database[part] and None not in (of.get(part), database[part]):
            raise NoRecoveryPointError(
                f"The newest recovery point {point['id']} is of another database ({part} {of.get(part)}, not"
                f" {database[part]}).",
                REMEDY,
            )
    age = datetime.now(timezone.utc) - created(point)
    if not -timedelta(seconds=_CLOCK_TOLERANCE) <= age <= timedelta(seconds=options["recovery_point_age"]):
        raise NoRecoveryPointError(
            f"The newest recovery point {point['id']} is {span(age.total_seconds())} old;"
            f" {span(options['recovery_point_age'])} are allowed ({kind.role}_recovery_point_age).",
            REMEDY,
        )
    return {"id": point["id"], "key": chosen.key, "sha256": chosen.sha256, "created_at": point["created_at"]}


def created(point: Dict[str, Any]) -> datetime:
    """When a recovery point was made."""
    return datetime.strptime(point["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
