# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What forbids a restore: each with what to do, and whether an operator can insist, with a reason."""

from __future__ import annotations

import errno
import http.client
import os
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from .._http.request import context, get, replica
from ..errors import ConfigurationError, MaintenanceError
from ..refusal import Refusal
from ..words import human, printable
from .options import OVERRIDES, parts_of

#: What asking nobody ends in.
_SILENT = (ConnectionRefusedError, TimeoutError, socket.timeout, socket.gaierror)


def check_words(options: Dict[str, Any]) -> None:
    """Raises ConfigurationError when somebody insists and does not say why."""
    if options["overrides"] and not (options.get("reason") or "").strip():
        raise ConfigurationError(
            f"restore_overrides ({', '.join(options['overrides'])}) needs a reason, which goes on the record.",
            "Set restore_reason to why it must be done.",
        )


def standing(refusals: List[Refusal], options: Dict[str, Any]) -> Tuple[List[Refusal], List[Refusal]]:
    """Those that forbid it, and those that the operator overrides."""
    over = [refusal for refusal in refusals if refusal.word and refusal.word in options["overrides"]]
    return [refusal for refusal in refusals if refusal not in over], over


def insist(word: str) -> str:
    """How to insist, for a remedy."""
    return f"or insist: restore_overrides: [{word}] ({OVERRIDES[word]}) and restore_reason"


@contextmanager
def or_trusted() -> Iterator[None]:
    """Where a role without a superuser's rights may not do something, says how to do without it."""
    try:
        yield
    except MaintenanceError as error:
        if "permission denied" not in error.message and "cannot log in" not in error.message:
            raise
        remedy = f"{error.remedy} Or restore with all of a superuser's rights: restore_overrides: [source_functions]"
        raise type(error)(error.message, f"{remedy} ({OVERRIDES['source_functions']}) and restore_reason.") from None


def of_environment(options: Dict[str, Any], point: Dict[str, Any]) -> List[Refusal]:
    """Whose recovery point it is."""
    ours = options["environment_name"]
    source = options.get("source_environment") or ours
    if point["environment"] != source:
        return [
            Refusal(
                "environment",
                f"The recovery point {point['id']} lies among those of {source}, and says that it is of"
                f" {printable(point['environment'])}.",
                "Somebody moved or changed it: choose another, and find out who.",
            )
        ]
    if source != ours:
        text = f"The recovery point {point['id']} is of the environment {source}, and would be restored into {ours}."
        remedy = f"Choose one of {ours} (leave restore_source_environment empty), {insist('other_environment')}."
        return [Refusal("environment", text, remedy, "other_environment")]
    return _of_name(options, point)


def _of_name(options: Dict[str, Any], point: Dict[str, Any]) -> List[Refusal]:
    recorded, ours = point["database"]["name"], options["database"]["name"]
    if recorded == ours:
        return []
    text = f"The recovery point {point['id']} is of the database {printable(recorded)}, the inventory's is {ours}."
    remedy = f"Choose one of {ours} (restore_recovery_point), {insist('other_database')}."
    return [Refusal("database", text, remedy, "other_database")]


def _of_contents(point: Dict[str, Any]) -> List[Refusal]:
    """Whether there is anything in it."""
    tables = point["database"]["tables"]
    if any(table["rows"] != 0 for table in tables):
        return []
    text = f"The recovery point {point['id']} holds no data: {len(tables)} tables, and not a single row."
    return [Refusal("empty", text, f"Choose an earlier one (restore_recovery_point), {insist('empty')}.", "empty")]


def of_server(options: Dict[str, Any], facts: Dict[str, Any], point: Dict[str, Any]) -> List[Refusal]:
    """Whether the server is the one that the inventory means, and can take it."""
    found = []
    if not facts["superuser"]:
        user = options["database"]["user"]
        found.append(
            Refusal(
                "rights",
                f"The user {user} is not a superuser: owners, rights and extensions would not come back as they were.",
                "Restore as a superuser (restore_database), which the daily work does not need.",
            )
        )
    if facts["recovering"]:
        found.append(
            Refusal(
                "standby", "The server is a standby, which takes no changes.", "Name the primary in restore_database."
            )
        )
    recorded, major = int(point["database"]["server_version_num"]) // 10000, facts["version"] // 10000
    if major < recorded:
        text = f"The server is PostgreSQL {major}, the recovery point is of {recorded}: an older one cannot take it."
        found.append(Refusal("version", text, f"Restore into a PostgreSQL {recorded} or newer."))
    return [*found, *_identity(options, facts, point), *_of_contents(point)]


def _identity(options: Dict[str, Any], facts: Dict[str, Any], point: Dict[str, Any]) -> List[Refusal]:
    there, expected = facts["system_identifier"], options.get("system_identifier")
    if expected:
        if there == expected:
            return []
        text = f"The server's system identifier is {there}, the inventory says {expected}: it is another cluster."
        return [
            Refusal("server", text, "Correct restore_database, or restore_system_identifier if the cluster is new.")
        ]
    recorded = point["database"].get("system_identifier")
    if there == recorded:
        return []
    known = recorded or "one that is not recorded"
    text = f"The server's system identifier is {there}, the recovery point is of {known}."
    remedy = "Correct restore_database; for a new cluster set restore_system_identifier to its identifier,"
    remedy += f" {insist('other_cluster')}."
    return [Refusal("server", text, remedy, "other_cluster")]


def of_tablespaces(facts: Dict[str, Any], needed: List[str]) -> List[Refusal]:
    """Tablespaces that the server does not have."""
    missing = sorted(set(needed) - set(facts["tablespaces"]))
    if not missing:
        return []
    names = ", ".join(missing)
    text = f"The recovery point's objects lie in tablespaces that the server does not have: {names}."
    return [Refusal("tablespaces", text, "Make them first (CREATE TABLESPACE), each on a disk with room.")]


def of_application(options: Dict[str, Any], sessions: List[str], target: str) -> List[Refusal]:
    """Whether somebody is at work: the application answers, or others are connected.

    What the role stops before the restore forbids nothing while it only plans (application.stopped_by_us).
    """
    application = options.get("application") or {}
    if application.get("stopped_by_us"):
        return []
    found = []
    for url in application.get("urls") or []:
        place = replica(url, 1)
        if _answers(place, application):
            text = f"The application answers at {place.name}: it is running."
            remedy = "Stop it first, or tell the role how (restore_application_stop)."
            found.append(Refusal("application", text, remedy))
    if sessions:
        text = f"Others are connected to {target}: {'; '.join(sessions[:5])}."
        found.append(Refusal("sessions", text, "End these programs first; a connection pool too."))
    return found


def _answers(place: Any, application: Dict[str, Any]) -> bool:
    try:
        get(place, application.get("health_path") or "/", 3, context(application.get("ca_file")))
    except _SILENT:
        return False
    except OSError as error:
        # Whoever has a certificate, or hangs up, runs.
        return error.errno not in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN)
    except http.client.HTTPException:
        return True
    return True


def of_confirmation(options: Dict[str, Any], target: str, tables: int, what: str = "") -> List[Refusal]:
    """An existing target that is not empty wants to be named by whoever does it."""
    wanted = f"{options['environment_name']}/{target}"
    if not tables or options.get("confirm") == wanted:
        return []
    what = what or f"The database {target} exists and has {tables} tables: it would be replaced (and kept aside)."
    return [Refusal("confirmation", what, f"If that is what you want, say so: restore_confirm={wanted}")]


def of_parts(options: Dict[str, Any], point: Dict[str, Any], *, beside: bool = False) -> List[Refusal]:
    """Database and files belong together.

    :param beside: whether the database comes under a name of its own, which nobody uses with the files there
    """
    if not int(point["application"]["files"]):
        if parts_of(options) == ["files"]:
            return [Refusal("parts", f"{point['id']} has no application files.", "Choose another recovery point.")]
        return []
    if "files" in parts_of(options) and not options.get("data_directory"):
        text = f"{point['id']} has application files, but where they belong is not set."
        return [Refusal("parts", text, "Set restore_data_directory, or restore_parts: [database].")]
    if set(parts_of(options)) == {"database", "files"} or (beside and parts_of(options) == ["database"]):
        return []
    text = (
        f"Only the {parts_of(options)[0]} of {point['id']} would be restored: the other half would be of another time."
    )
    return [Refusal("parts", text, f"Restore both, {insist('parts_apart')}.", "parts_apart")]


class Space:
    """Bytes that are needed on each disk.

    :param unseen: places that are on no disk of this host
    """

    def __init__(self) -> None:
        self._needed: Dict[int, Tuple[str, int]] = {}
        self.unseen: List[str] = []

    def need(self, place: str, size: int) -> None:
        """So much will be written there."""
        path = Path(place)
        while not path.exists() and path != path.parent:
            path = path.parent
        try:
            device = os.stat(path).st_dev
        except OSError:
            self.unseen.append(place)
            return
        name, before = self._needed.get(device, (str(path), 0))
        self._needed[device] = (name, before + size)

    def plan(self) -> List[Dict[str, Any]]:
        """By disk: place, needed_bytes, free_bytes."""
        found = []
        for place, size in self._needed.values():
            status = os.statvfs(place)
            found.append({"place": place, "needed_bytes": size, "free_bytes": status.f_bavail * status.f_frsize})
        return found

    def refusals(self) -> List[Refusal]:
        """Disks that are too small."""
        return [
            Refusal(
                "space",
                f"About {human(disk['needed_bytes'])} are needed on the disk of {disk['place']}, where"
                f" {human(disk['free_bytes'])} are free.",
                "Free space there: what an earlier restore kept aside can go (restore_remove_old).",
            )
            for disk in self.plan()
            if disk["free_bytes"] < disk["needed_bytes"]
        ]
