# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of a recovery point; those of a physical one are pgBackRest's, and known by the store's listing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List

from .._storage.read import check_head
from ..errors import BackupError
from ..storage import list_keys, storage_errors

#: Roles of the objects in a recovery point.
BACKUP, WAL = "backup", "wal"


def folder(engine: Dict[str, Any], label: str) -> str:
    """Key prefix of a backup in its repository.

    :param engine: the part of a recovery point
    """
    return f"{engine['repository_path']}/backup/{engine['stanza']}/{label}/"


def archive(engine: Dict[str, Any]) -> str:
    """Key prefix of the WAL that belongs to a backup."""
    return f"{engine['repository_path']}/archive/{engine['stanza']}/{engine['archive_id']}"


def entry(found: Dict[str, Any], role: str) -> Dict[str, Any]:
    """An object of a recovery point, from the store's listing."""
    return {
        "key": found["Key"],
        "size": found["Size"],
        "etag": found["ETag"].strip('"'),
        "sha256": None,
        "checksum": None,
        "role": role,
    }


def of_backup(
    s3: Any, storage: Dict[str, Any], engine: Dict[str, Any], label: str, stored: int
) -> List[Dict[str, Any]]:
    """All objects of a backup.

    :param stored: bytes of its data by what pgBackRest says
    :raises BackupError: they are not all there
    """
    prefix = folder(engine, label)
    with storage_errors(storage, f"listing the backup {label}"):
        found = [entry(each, BACKUP) for each in list_keys(s3, storage["bucket"], prefix)]
    if not any(each["key"] == f"{prefix}backup.manifest" for each in found):
        raise BackupError(
            f"The backup {label} is not whole in the store: there is no {prefix}backup.manifest.",
            "Make a full backup now (backup_pgbackrest_type: full), and find out who deleted it.",
        )
    size = sum(each["size"] for each in found if not each["key"].startswith(f"{prefix}backup.manifest"))
    if size != stored:
        raise BackupError(
            f"The backup {label} is not whole in the store: its objects have {size} bytes instead of {stored}.",
            "Make a full backup now (backup_pgbackrest_type: full), and find out who changed it.",
        )
    return found


def all_objects(point: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Everything a recovery point needs, its own and others'."""
    return [*point["objects"], *point.get("required_objects", [])]


def problems(s3: Any, storage: Dict[str, Any], point: Dict[str, Any]) -> List[str]:
    """What is wrong with the objects of a recovery point, in words; nothing is downloaded.

    :raises StorageError: the store does not answer
    """
    if point["engine"]["name"] == "pgbackrest":
        return compare(s3, storage, point)
    with ThreadPoolExecutor(8) as pool:
        return [text for text in pool.map(lambda each: check_head(s3, storage, each), point["objects"]) if text]


def compare(s3: Any, storage: Dict[str, Any], point: Dict[str, Any]) -> List[str]:
    """What is wrong with the objects by size and checksum or ETag, in words: few listings instead of many HEADs.

    :raises StorageError: the store does not answer
    """
    listed: Dict[str, Dict[str, Any]] = {}
    expected = all_objects(point)
    theirs = [each for each in expected if each["role"] in (BACKUP, WAL)]
    prefixes = {folder(point["engine"], label) for label in [*point["engine"]["requires"], point["engine"]["label"]]}
    prefixes |= {each["key"].rsplit("/", 1)[0] + "/" for each in theirs if each["role"] == WAL}
    with storage_errors(storage, "listing the objects"):
        for prefix in sorted(prefixes):
            listed.update((found["Key"], found) for found in list_keys(s3, storage["bucket"], prefix))
    wrong = [text for text in (difference(each, listed.get(each["key"])) for each in theirs) if text]
    ours = [each for each in expected if each["role"] not in (BACKUP, WAL)]
    with ThreadPoolExecutor(8) as pool:
        wrong += [text for text in pool.map(lambda each: check_head(s3, storage, each), ours) if text]
    return wrong


def difference(expected: Dict[str, Any], found: Any) -> str:
    """What is wrong with an object by its size and ETag, empty when nothing is.

    :param found: its entry in the listing, None when it has none
    """
    if found is None:
        return f"{expected['key']} is missing"
    if found["Size"] != expected["size"]:
        return f"{expected['key']} has {found['Size']} bytes instead of {expected['size']}"
    if found["ETag"].strip('"') != expected["etag"]:
        return f"{expected['key']} has another ETag than recorded"
    return ""
