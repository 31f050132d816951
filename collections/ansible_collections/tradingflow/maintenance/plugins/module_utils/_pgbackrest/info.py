# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pgBackRest says about its repositories: info --output=json, and verify --output=text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..errors import BackupError, ConfigurationError, MaintenanceError

#: A full backup is made when the last is older.
FULL_EVERY = timedelta(days=7)
TYPES = ("full", "diff", "incr")


@dataclass
class Backup:
    """A backup of a stanza in one repository.

    :param requires: labels its chain needs, oldest first
    :param wal_start: the first segment that is needed to restore it; wal_stop the last
    :param size: bytes of the restored cluster; stored: bytes of its own in the repository
    :param error: whether pages had wrong checksums
    """

    label: str
    type: str
    requires: List[str]
    wal_start: str
    wal_stop: str
    lsn_stop: str
    started_at: datetime
    stopped_at: datetime
    archive_id: str
    system_identifier: str
    size: int
    stored: int
    version: str
    error: bool


@dataclass
class Stanza:
    """A stanza as one repository has it.

    :param problem: why nothing is known of it, None when all is well or it only has no backup yet
    :param newest_wal: the newest segment by archive id: each cluster that had the stanza has an archive of its own
    """

    exists: bool
    cipher: str
    problem: Optional[str]
    backups: List[Backup] = field(default_factory=list)
    busy: bool = False
    newest_wal: Dict[str, str] = field(default_factory=dict)
    system_identifier: Optional[str] = None
    version: Optional[str] = None

    def of(self, label: str) -> Optional[Backup]:
        """The backup of this label."""
        return next((backup for backup in self.backups if backup.label == label), None)


_NO_STANZA = (1, 3)
_NO_BACKUP = 2


def parse(text: str, stanza: str, repository: int) -> Stanza:
    """A stanza from info's JSON.

    :raises BackupError: it is not understood
    """
    try:
        # Not strict: what a store answered is in it with its line breaks.
        (found,) = [entry for entry in json.loads(text, strict=False) if entry["name"] == stanza] or [None]
        if found is None:
            return Stanza(False, "none", "the repository has no such stanza")
        return _stanza(found, repository)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise BackupError(
            f"What pgBackRest says about the stanza {stanza} is not understood ({type(error).__name__}: {error}).",
            "Check the version of pgBackRest.",
        ) from None


def expired(backrest: Any, repository: int, label: str, error: MaintenanceError) -> MaintenanceError:
    """What an error while a backup is read means: nothing for the backup when it was expired meanwhile.

    :param backrest: see program.PgBackRest
    """
    try:
        said = backrest.checked("info", "--output=json", f"--repo={repository}")
        stanza = parse(said, backrest.stanza, repository)
    except MaintenanceError:
        return error
    if stanza.problem or stanza.of(label) is not None:
        return error
    return ConfigurationError(
        f"The backup {label} was expired while it was read: the repository does not have it any more. {error.message}",
        "Choose a newer recovery point; and have pgbackrest expire run at another time, or let backup_retention do it,"
        " which waits.",
    )


def _stanza(found: Dict[str, Any], repository: int) -> Stanza:
    (repo,) = [entry for entry in found["repo"] if entry["key"] == repository] or [None]
    if repo is None:
        return Stanza(False, "none", f"there is no repository {repository}")
    code, message = repo["status"]["code"], repo["status"]["message"]
    result = Stanza(
        exists=code not in _NO_STANZA,
        cipher=repo["cipher"],
        problem=None if code in (0, _NO_BACKUP) else message,
        busy=bool(found["status"].get("lock", {}).get("backup", {}).get("held")),
    )
    databases = {entry["id"]: entry for entry in found["db"] if entry["repo-key"] == repository}
    archives = {
        entry["database"]["id"]: entry for entry in found["archive"] if entry["database"]["repo-key"] == repository
    }
    result.newest_wal = {entry["id"]: entry["max"] for entry in archives.values() if entry.get("max")}
    if databases:
        current = max(databases)
        result.system_identifier = str(databases[current]["system-id"])
        result.version = databases[current]["version"]
    for entry in found["backup"]:
        if entry["database"]["repo-key"] != repository:
            continue
        database = databases[entry["database"]["id"]]
        result.backups.append(
            Backup(
                label=entry["label"],
                type=entry["type"],
                requires=_chain(entry["label"], entry["prior"], entry["reference"], found["backup"]),
                wal_start=entry["archive"]["start"],
                wal_stop=entry["archive"]["stop"],
                lsn_stop=entry["lsn"]["stop"],
                started_at=datetime.fromtimestamp(entry["timestamp"]["start"], timezone.utc),
                stopped_at=datetime.fromtimestamp(entry["timestamp"]["stop"], timezone.utc),
                archive_id=archives[entry["database"]["id"]]["id"],
                system_identifier=str(database["system-id"]),
                size=entry["info"]["size"],
                stored=entry["info"]["repository"].get("delta") or 0,
                version=entry["backrest"]["version"],
                error=bool(entry.get("error")),
            )
        )
    result.backups.sort(key=lambda backup: backup.stopped_at)
    return result


class Space(NamedTuple):
    """A tablespace of a backup.

    :param location: where the source has it
    """

    oid: int
    name: str
    location: str


def outside(text: str, label: str) -> Tuple[List[Space], List[str]]:
    """Tablespaces of a backup, and what its data directory's links lead to, from the JSON of info --set.

    :raises BackupError: it is not understood
    """
    try:
        backups = [each for stanza in json.loads(text, strict=False) for each in stanza["backup"]]
        (found,) = [each for each in backups if each["label"] == label]
        spaces = [
            Space(int(each["oid"]), str(each["name"]), str(each["destination"]))
            for each in found.get("tablespace") or []
        ]
        return spaces, [str(each["destination"]) for each in found.get("link") or []]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(
            f"What pgBackRest says about the backup {label} is not understood ({type(error).__name__}: {error}).",
            "Check the version of pgBackRest.",
        ) from None


def _chain(
    label: str, prior: Optional[str], reference: Optional[List[str]], backups: List[Dict[str, Any]]
) -> List[str]:
    """What a backup needs: those it refers to, and those it was made from; pgBackRest refuses without either."""
    needed = set(reference or [])
    priors = {entry["label"]: entry["prior"] for entry in backups}
    while prior:
        needed.add(prior)
        prior = priors.get(prior)
    return sorted(needed - {label})


def chosen_type(wanted: str, stanza: Stanza, now: datetime) -> str:
    """The type of the next backup: auto is incr, and full when there is none, or none of the last seven days.

    :param wanted: auto, full, diff or incr
    """
    if wanted != "auto":
        return wanted
    fulls = [
        backup
        for backup in stanza.backups
        if backup.type == "full" and backup.system_identifier == stanza.system_identifier
    ]
    return "full" if not fulls or now - fulls[-1].stopped_at > FULL_EVERY else "incr"


_ARCHIVE = re.compile(r"^ +archiveId: (\S+), total WAL checked: (\d+), total valid WAL: (\d+)")
_BACKUP = re.compile(r"^ +backup: (\S+), status: ([^,]+), total files checked: (\d+), total valid files: (\d+)")
_COUNTS = re.compile(r"^ +missing: (\d+), checksum invalid: (\d+), size invalid: (\d+), other: (\d+)")
_WRONG = ("missing", "with a wrong checksum", "of a wrong size", "otherwise wrong")


@dataclass
class Verified:
    """What verify found.

    :param problems: in words, with the archive or the label they belong to
    """

    problems: List[str] = field(default_factory=list)
    backups: Dict[str, int] = field(default_factory=dict)
    archives: Dict[str, int] = field(default_factory=dict)


def parse_verify(text: str, required: List[str], archive_id: str) -> Verified:
    """What verify's text says. Its exit status says nothing: it is 0 when files are lost.

    :param required: labels that must be among what it verified
    """
    result, at = Verified(), "the stanza"
    lines = text.splitlines()
    status = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("status:")), None)
    for line in lines:
        archive, backup, counts = _ARCHIVE.match(line), _BACKUP.match(line), _COUNTS.match(line)
        if archive:
            at = f"archive {archive.group(1)}"
            result.archives[archive.group(1)] = int(archive.group(2))
            if archive.group(2) != archive.group(3):
                result.problems.append(f"{at}: {archive.group(3)} of {archive.group(2)} segments of WAL are valid")
        elif backup:
            at = f"backup {backup.group(1)}"
            result.backups[backup.group(1)] = int(backup.group(3))
            if backup.group(2) != "valid" or backup.group(3) != backup.group(4):
                valid = f"{backup.group(4)} of {backup.group(3)} files are valid"
                result.problems.append(f"{at} is {backup.group(2)}: {valid}")
        elif counts:
            wrong = [(counts.group(place), word) for place, word in enumerate(_WRONG, 1)]
            result.problems += [f"{at}: {count} {word}" for count, word in wrong if count != "0"]
        elif re.search(r"\b(ERROR|WARN):", line):
            result.problems.append(" ".join(line.split())[:300])
    if status != "ok":
        result.problems.append(f"pgBackRest's verify says {status or 'nothing'}")
    result.problems += [f"backup {label} was not verified" for label in required if not result.backups.get(label)]
    if not result.archives.get(archive_id):
        result.problems.append(f"no WAL of {archive_id} was verified")
    return result
