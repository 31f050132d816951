# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository of the application's files in the store: made once, and compared with what was listed before."""

from __future__ import annotations

import base64
import json
import shutil
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .._storage.read import fetch, head
from ..errors import BackupError, StorageError
from ..storage import error_code, key, list_keys, storage_errors
from .restic import Restic

try:
    from botocore.exceptions import ClientError
except ImportError:
    ClientError = OSError  # type: ignore[assignment,misc]

ENGINE = "restic"
#: Role of the object that lists the repository as it was after the backup.
ROLE = "application repository"
#: Of our own beside restic's, which looks at none of it.
OURS = "tradingflow/"
_INIT = OURS + "init.json"
_AFTER = OURS + "after-prune.json"
MISSING = " is missing"
_REPLACED = ("keys/", OURS)
_EXISTS = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
#: Recovery points, from the newest back, whose lists are looked at.
LOOKED_AT = 3


def prefix_of(storage: Dict[str, Any], environment_name: str, wanted: Optional[str] = None) -> str:
    """Key prefix of an environment's repository, without a slash at its end."""
    return wanted.strip("/") if wanted and wanted.strip("/") else key(storage, "files", environment_name)


def facts_of(point: Dict[str, Any]) -> Optional[Tuple[str, str]]:
    """Repository and snapshot of a recovery point's files; None when its files are in no repository.

    :raises ValueError: it names them incompletely
    """
    application = point["application"]
    if application.get("engine") in (None, "archive"):
        return None
    found = application.get("repository"), application.get("snapshot")
    if application["engine"] != ENGINE or not all(isinstance(each, str) and each for each in found):
        raise ValueError(f"its files are stored by {application['engine']!r}, which is not known or incomplete")
    return str(found[0]), str(found[1])


def exists(s3: Any, storage: Dict[str, Any], prefix: str) -> bool:
    """Whether there is a repository."""
    return head(s3, storage, f"{prefix}/config") is not None


def _locks(s3: Any, storage: Dict[str, Any], prefix: str) -> List[str]:
    with storage_errors(storage, f"looking for locks of {prefix}"):
        return [entry["Key"] for entry in list_keys(s3, storage["bucket"], f"{prefix}/locks/")]


def unlock(restic: Restic) -> None:
    """Removes the locks of dead processes of this host, and of others that have not been renewed for half an hour.

    :raises MaintenanceError: the store or restic does not answer
    """
    s3, storage, prefix = restic.s3, restic.storage, restic.prefix
    if not _locks(s3, storage, prefix):
        return
    restic.text("unlock")
    for name in _locks(s3, storage, prefix):
        try:
            lock = json.loads(restic.text("cat", "--no-lock", "lock", name.rsplit("/", 1)[-1]))
            dead = lock["hostname"] == socket.gethostname() and _dead(int(lock["pid"]))
        except (BackupError, ValueError, KeyError, TypeError):
            continue  # it went away, or is not understood: restic judges it after its own time
        if dead:
            with storage_errors(storage, f"removing {name}"):
                s3.delete_object(Bucket=storage["bucket"], Key=name)


def _dead(pid: int) -> bool:
    """Whether a process is gone, or was never waited for by its parent: that restic takes for alive."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[-1].split()[0] == "Z"
        )
    except FileNotFoundError:
        return True
    except (OSError, IndexError):
        return False


def ensure(restic: Restic, folder: Path) -> None:
    """Makes the repository if there is none. Safe when two do it at once, and when one of them is killed.

    restic itself would leave two keys of which one opens nothing. Here, whoever puts the first proposal into the store
    wins, and everybody carries that one out.

    :param folder: of ours, for the proposal
    :raises StorageError: there was one, and its beginning is missing
    """
    s3, storage, prefix = restic.s3, restic.storage, restic.prefix
    if exists(s3, storage, prefix):
        return
    if any(not name.startswith((OURS, "keys/")) for name in contents(s3, storage, prefix)):
        raise StorageError(
            f"The repository {prefix} has lost its object config, without which nothing in it can be read.",
            f"Restore its older version, or the one in {prefix}/{_INIT}.",
        )
    made = _proposal(s3, storage, prefix)
    if made is None:
        place = folder / "repository"
        shutil.rmtree(place, ignore_errors=True)
        restic.text("init", repository=str(place))
        (name,) = [each.name for each in (place / "keys").iterdir()]
        files = {f"keys/{name}": place / "keys" / name, "config": place / "config"}
        mine = {name: base64.b64encode(path.read_bytes()).decode() for name, path in files.items()}
        _put_new(s3, storage, f"{prefix}/{_INIT}", json.dumps({"version": 1, "objects": mine}).encode())
        shutil.rmtree(place)
        made = _proposal(s3, storage, prefix) or mine
    # The key first: where there is a config, there is its key.
    for name in sorted(made, reverse=True):
        _put_new(s3, storage, f"{prefix}/{name}", base64.b64decode(made[name]))


def _proposal(s3: Any, storage: Dict[str, Any], prefix: str) -> Optional[Dict[str, str]]:
    with storage_errors(storage, f"reading {prefix}/{_INIT}"):
        body = fetch(s3, storage, f"{prefix}/{_INIT}")
        if body is None:
            return None
        objects: Dict[str, str] = json.loads(body.read())["objects"]
        return objects


def _put_new(s3: Any, storage: Dict[str, Any], key: str, body: bytes) -> None:
    with storage_errors(storage, f"making {key}"):
        try:
            s3.put_object(Bucket=storage["bucket"], Key=key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            if error_code(error) not in _EXISTS:
                raise


def contents(s3: Any, storage: Dict[str, Any], prefix: str) -> Dict[str, Dict[str, Any]]:
    """What is in the repository: size and etag by name. Locks come and go and are not among it.

    :raises StorageError: the store does not answer
    """
    with storage_errors(storage, f"listing {prefix}"):
        return {
            name: {"size": entry["Size"], "etag": entry["ETag"].strip('"')}
            for entry in list_keys(s3, storage["bucket"], f"{prefix}/")
            if not (name := entry["Key"][len(prefix) + 1 :]).startswith(("locks/", f"{OURS}after"))
        }


def dump_contents(prefix: str, found: Dict[str, Dict[str, Any]], *, pending: bool = False) -> bytes:
    """The list as an object."""
    document = {"version": 1, "repository": prefix, "pending": pending, "objects": found}
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def keep_list(s3: Any, storage: Dict[str, Any], prefix: str, going: Optional[List[str]] = None) -> None:
    """Puts down what the repository consists of from now on: before something is taken out of it, and after that.

    :param going: snapshots that are about to be forgotten; None when that is done
    """
    gone = {f"snapshots/{each}" for each in going or []}
    found = {name: entry for name, entry in contents(s3, storage, prefix).items() if name not in gone}
    body = dump_contents(prefix, found, pending=going is not None)
    with storage_errors(storage, f"writing {prefix}/{_AFTER}"):
        s3.put_object(Bucket=storage["bucket"], Key=f"{prefix}/{_AFTER}", Body=body)


def pending(s3: Any, storage: Dict[str, Any], prefix: str) -> bool:
    """Whether taking something out was begun, and never ended.

    :raises StorageError: the store does not answer
    :raises ValueError, KeyError: its list is none
    """
    return _list(s3, storage, f"{prefix}/{_AFTER}")[2]


def expected(s3: Any, storage: Dict[str, Any], prefix: str, points: List[Dict[str, Any]]) -> Dict[str, Dict[str, Any]]:
    """What must be in the repository: what the newest recovery points listed, since something was last taken out.

    While something is being taken out, packs and index are on the move: those listed before it are not among it.

    :param points: newest first
    :raises StorageError: the store does not answer
    :raises ValueError, KeyError: a list is none
    """
    found, since, moving = _list(s3, storage, f"{prefix}/{_AFTER}")
    lists = []
    for point in points[:LOOKED_AT]:
        if point["application"].get("repository") != prefix:
            continue
        listed, at, _moving = _list(s3, storage, _list_of(point))
        if at is not None and not listed:
            raise ValueError(f"{point['id']} lists nothing")
        # The store's clock, and whole seconds: no backup ends within the second in which something is taken out.
        if since is None or (at is not None and at > since):
            lists.append(listed)
    if moving:
        found = {name: entry for name, entry in found.items() if not name.startswith(("data/", "index/"))}
    # Nothing there ever changes: what was listed first counts. But for keys, which may be replaced.
    newest = lists[0] if lists else found
    for listed in reversed(lists):
        found = {**listed, **found}
    replaced = {name: entry for name, entry in newest.items() if name.startswith(_REPLACED)}
    return {**{name: entry for name, entry in found.items() if not name.startswith(_REPLACED)}, **replaced}


def _list_of(point: Dict[str, Any]) -> str:
    entry = next((each for each in point["objects"] if each["role"] == ROLE), None)
    if entry is None:
        raise ValueError(f"{point['id']} does not list the repository of its files")
    return str(entry["key"])


def _list(s3: Any, storage: Dict[str, Any], key: str) -> Tuple[Dict[str, Dict[str, Any]], Optional[datetime], bool]:
    """Objects, time, and whether something was on the move; nothing when there is no list."""
    with storage_errors(storage, f"reading {key}"):
        try:
            answer = s3.get_object(Bucket=storage["bucket"], Key=key)
        except ClientError as error:
            if error_code(error) not in ("NoSuchKey", "404"):
                raise
            # One of a recovery point is missed on its own, with the recovery point's other objects.
            return {}, None, False
        document = json.loads(answer["Body"].read())
    return document["objects"], answer["LastModified"], bool(document.get("pending"))


def differences(
    s3: Any, storage: Dict[str, Any], points: List[Dict[str, Any]], *, proven_otherwise: bool = False
) -> List[str]:
    """What is wrong with the repository of the newest recovery point's files, without reading it: by one listing.

    Finds whatever is missing, cut or replaced. Needs neither restic nor the password.

    :param points: newest first; what is asked about is the first
    :param proven_otherwise: where something is on the move, restic itself has looked or will
    :returns: in words; nothing when all is as it was listed, or the files are in no repository
    :raises StorageError: the store does not answer
    """
    try:
        facts = facts_of(points[0])
        if facts is None:
            return []
        prefix, snapshot = facts
        wanted = expected(s3, storage, prefix, points)
        moving = not any(name.startswith("data/") for name in wanted)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"what the files' repository consists of cannot be determined: {error}"]
    there = contents(s3, storage, prefix)
    wanted.setdefault(f"snapshots/{snapshot}", {})
    wanted.setdefault("config", {})
    wrong = compare(prefix, wanted, there)
    if moving and not proven_otherwise and not wrong and any(name.startswith("data/") for name in there):
        wrong.append(
            f"retention of {prefix} was started and never finished: what must be there is unknown until it runs again"
        )
    return wrong


def compare(prefix: str, wanted: Dict[str, Dict[str, Any]], there: Dict[str, Dict[str, Any]]) -> List[str]:
    """What differs, in words."""
    wrong = []
    for name, entry in wanted.items():
        found = there.get(name)
        if found is None:
            wrong.append(f"{prefix}/{name}{MISSING}")
        elif entry and found["size"] != entry["size"]:
            wrong.append(f"{prefix}/{name} has {found['size']} bytes instead of {entry['size']}")
        elif entry and found["etag"] != entry["etag"]:
            wrong.append(f"{prefix}/{name} has another ETag than recorded")
    if not any(name.startswith("keys/") for name in there):
        wrong.append(f"{prefix}/keys/ is empty: nothing can be decrypted")
    return wrong


def older(s3: Any, storage: Dict[str, Any], keys: List[str]) -> List[Dict[str, Any]]:
    """Recovery points before the newest, those that can be read: their lists are looked at as well.

    :param keys: of recovery-point.json, newest first
    """
    found: List[Dict[str, Any]] = []
    for place in keys:
        with storage_errors(storage, f"reading {place}"):
            body = fetch(s3, storage, place)
            with suppress(ValueError):
                point = json.loads(body.read()) if body is not None else None
                if isinstance(point, dict) and isinstance(point.get("application"), dict):
                    found.append(point)
        if len(found) == LOOKED_AT - 1:
            break
    return found
