# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a run: one run of a procedure at a time in an environment.

Two layers: a file in the controller's folder of runs, which knows whether its owner still lives, and an object in the
store, which also keeps other controllers out and ends by itself soon after nobody renews it any more (lock_keeper.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Iterator, Optional
from urllib.parse import quote

from ._ledger.places import BotoCoreError, ClientError, store_date
from .checks import utc_now
from .errors import LockedError, MaintenanceError, StorageError
from .run import write_private
from .storage import client, describe, error_code, key, storage_errors

_TRIES = 10
#: A lock is no reason to wait long for a store.
TIMEOUTS = {"connect_timeout": 5, "read_timeout": 10, "retry_seconds": 10}
_TAKEN = ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")
#: Name of what is held while a lock in the store is renewed or given back.
RENEWING = "renewing"
_IDENTITY = ("host", "machine", "boot_id", "pid_namespace")


def acquire(
    root: Path,
    environment: str,
    procedure: str,
    *,
    run_id: str,
    owner_pid: int,
    storage: Optional[dict[str, Any]],
    ttl_s: int,
) -> dict[str, Any]:
    """Takes the lock, or says who has it. A lock whose owner is gone is taken over, with a note.

    :param root: folder of all runs on the controller
    :param owner_pid: the process whose end also ends the lock
    :param storage: see storage.STORAGE_SPEC; None, or a store that does not answer: only this controller is locked
    :param ttl_s: seconds after which a lock that nobody renews ends, by the store's clock
    :returns: JSON data for release(): run_id, host, pid, started_at ..., and notes (what the operator should know)
    :raises LockedError: another run has it
    :raises OSError: root cannot be written
    """
    notes: list[str] = []
    lock: dict[str, Any] = {
        "environment": environment,
        "procedure": procedure,
        "run_id": run_id,
        **_machine(),
        "pid": owner_pid,
        "start_ticks": _start_ticks(owner_pid),
        "started_at": utc_now(),
        "ttl_s": ttl_s,
    }
    path = path_of(root, environment, procedure)
    _acquire_file(path, lock, notes)
    remote = None
    if storage:
        try:
            remote = Remote({**storage, **TIMEOUTS}, environment, procedure).acquire(lock, notes)
        except LockedError:
            _release_file(path, run_id)
            raise
        except MaintenanceError as error:
            notes.append(f"Only this controller is locked against a second {procedure}: {error.message}")
    return {**lock, "file": str(path), "remote": remote, "notes": notes}


def release(lock: dict[str, Any], *, storage: Optional[dict[str, Any]]) -> list[str]:
    """Gives the lock back, if it is still ours. Never raises: what could not be done is in the notes returned."""
    notes: list[str] = []
    try:
        _release_file(Path(lock["file"]), lock["run_id"])
    except OSError as error:
        notes.append(f"The lock {lock['file']} cannot be removed ({error.strerror}): it ends with this process.")
    if storage and lock.get("remote"):
        try:
            # With the file gone, nobody begins to renew it; who is just at it is waited for.
            with guard(Path(lock["file"]), RENEWING):
                other = Remote({**storage, **TIMEOUTS}, lock["environment"], lock["procedure"]).release(lock)
        except (MaintenanceError, OSError) as error:
            what = getattr(error, "message", str(error))
            notes.append(f"The lock {lock['remote']['key']} was left in the store: {what}")
        else:
            if other:
                notes.append(f"The lock was taken over meanwhile by {_who(other)}: two ran at the same time.")
    return notes


def path_of(root: Path, environment: str, procedure: str) -> Path:
    return root / "locks" / f"{quote(environment, safe='')}@{quote(procedure, safe='')}.json"


def _machine() -> dict[str, Optional[str]]:
    """What says whether two processes can see each other's process ids."""

    def read(path: str) -> Optional[str]:
        try:
            return Path(path).read_text(encoding="ascii").strip() or None
        except (OSError, ValueError):
            return None

    machine, namespace = read("/etc/machine-id"), None
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return {
        "host": socket.gethostname(),
        # Its own manual asks not to hand the id itself around.
        "machine": machine and hashlib.sha256(f"tradingflow {machine}".encode()).hexdigest()[:32],
        "boot_id": read("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": namespace,
    }


def _start_ticks(pid: int) -> Optional[int]:
    """When a process began, in clock ticks since boot; tells it from a later one of the same id. None when it ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The name in brackets may hold anything, also spaces and brackets.
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def alive_here(holder: dict[str, Any]) -> Optional[bool]:
    """Whether the owner of a lock lives; None when that cannot be seen from here."""
    here = _machine()
    if all(holder.get(name) == here[name] for name in _IDENTITY):
        try:
            pid = int(holder["pid"])
            os.kill(pid, 0)
        except PermissionError:
            # Somebody else's, who may hide it from us (hidepid).
            return _start_ticks(pid) in (None, holder.get("start_ticks"))
        except (OSError, KeyError, TypeError, ValueError, OverflowError):
            return False
        return _start_ticks(pid) == holder.get("start_ticks")
    if here["machine"] and all(holder.get(name) == here[name] for name in ("host", "machine")):
        # The same machine, started anew since: nothing of before lives. In another container nobody knows.
        return False if holder.get("boot_id") != here["boot_id"] else None
    return None


def _ttl(holder: dict[str, Any], lock: dict[str, Any]) -> int:
    """How long the holder wanted it, or we would, when it does not say."""
    found = holder.get("ttl_s")
    return found if isinstance(found, int) else int(lock["ttl_s"])


def _who(holder: dict[str, Any]) -> str:
    return (
        f"run {holder.get('run_id')} on {holder.get('host')}, process {holder.get('pid')}, "
        f"since {holder.get('started_at')}"
    )


def _locked(lock: dict[str, Any], holder: dict[str, Any], until: str, place: str) -> LockedError:
    return LockedError(
        f"Another {lock['procedure']} of {lock['environment']} is under way: {_who(holder)}; its lock ends {until}.",
        f"Wait until it is done. Only if it surely is dead, release its lock ({place}): playbooks/unlock.yml"
        f" -e unlock_procedure={lock['procedure']}",
    )


def _left_over(holder: dict[str, Any], why: str) -> str:
    return f"Took over the lock that {_who(holder)} left behind: {why}. That run may have stopped half-way."


# The file


@contextmanager
def guard(path: Path, name: str = "guard") -> Iterator[None]:
    """One process at a time looks at the lock files of a folder and changes them, or renews them."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path.parent / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_file(path: Path) -> Optional[dict[str, Any]]:
    """The lock in a file; None when there is none, empty when it is damaged."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None


def parse(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _acquire_file(path: Path, lock: dict[str, Any], notes: list[str]) -> None:
    with guard(path):
        holder = read_file(path)
        if holder is not None:
            alive = alive_here(holder) if holder else False
            # A folder that several machines share: only time tells.
            age = datetime.now(timezone.utc).timestamp() - path.stat().st_mtime
            ttl = _ttl(holder, lock)
            if alive or (alive is None and age < ttl):
                end = path.stat().st_mtime + ttl
                until = "with that process" if alive else f"at {_text(datetime.fromtimestamp(end, timezone.utc))}"
                raise _locked(lock, holder, until, str(path))
            why = "its process is gone" if alive is False else "its time is over"
            notes.append(_left_over(holder, why) if holder else f"The lock {path} was damaged and is made anew.")
        write_private(path, json.dumps(lock, indent=1))


def _release_file(path: Path, run_id: str) -> None:
    with guard(path):
        if (read_file(path) or {}).get("run_id") == run_id:
            path.unlink()


# The object


class Remote:
    """The lock object. Methods raise StorageError when the store does not answer."""

    def __init__(self, storage: dict[str, Any], environment: str, procedure: str) -> None:
        self.storage, self.s3 = storage, client(storage)
        self.place = {"Bucket": storage["bucket"], "Key": key(storage, "locks", environment, f"{procedure}.json")}

    def acquire(self, lock: dict[str, Any], notes: list[str]) -> dict[str, Any]:
        """Takes the lock; returns what release needs."""
        body = json.dumps(lock, sort_keys=True).encode()
        condition = {"IfNoneMatch": "*"}
        left_over: Optional[dict[str, Any]] = None
        with storage_errors(self.storage, "locking the procedure"):
            for _try in range(_TRIES):
                try:
                    answer = self.s3.put_object(**self.place, Body=body, ContentType="application/json", **condition)
                    return self._ours(answer, left_over, notes)
                except ClientError as error:
                    if "IfMatch" in condition and error_code(error) in ("NotImplemented", "501"):
                        # Without conditional replacement, somebody else may get in between; then they have it.
                        self.s3.delete_object(**self.place)
                    elif error_code(error) not in (*_TAKEN, "NoSuchKey", "404"):
                        raise
                found = self._read()
                if found is None:
                    condition = {"IfNoneMatch": "*"}
                elif found["data"] == body:
                    # The answer to an earlier try was lost on the way.
                    return self._ours(found, left_over, notes)
                else:
                    condition, left_over = {"IfMatch": found["ETag"]}, self._left_over(found, lock)
        raise StorageError(
            f"The lock {self.place['Key']} in {describe(self.storage)} changed hands {_TRIES} times.", "Run again."
        )

    def read(self) -> Optional[dict[str, Any]]:
        """The lock as it lies there, None when there is none."""
        with storage_errors(self.storage, "looking at the lock"):
            return self._read()

    def _read(self) -> Optional[dict[str, Any]]:
        """The store's answer with the lock's bytes as "data"; None when there is no lock."""
        try:
            answer: dict[str, Any] = self.s3.get_object(**self.place)
        except ClientError as error:
            if error_code(error) in ("NoSuchKey", "404"):
                return None
            raise
        return {**answer, "data": answer["Body"].read(65536)}

    def _left_over(self, found: dict[str, Any], lock: dict[str, Any]) -> dict[str, Any]:
        """Note and version of a lock that may be taken over.

        :raises LockedError: it may not
        """
        holder = parse(found["data"])
        alive = alive_here(holder) if holder else None
        ends = found["LastModified"] + timedelta(seconds=_ttl(holder, lock))
        # Both times are the store's, so that a wrong clock here takes nothing from anybody.
        over = (store_date(found) or datetime.now(timezone.utc)) >= ends
        if alive or (alive is None and not over):
            until = "with that process" if alive else f"at {_text(ends)} by the store's clock"
            raise _locked(lock, holder, until, f"s3://{self.place['Bucket']}/{self.place['Key']}")
        why = "its process is gone" if alive is False else "its time is over"
        return {"note": _left_over(holder, why), "version": found.get("VersionId")}

    def _ours(self, answer: dict[str, Any], left_over: Optional[dict[str, Any]], notes: list[str]) -> dict[str, Any]:
        if left_over:
            notes += [left_over["note"]] if left_over["note"] not in notes else []
            self._drop(left_over["version"])
        return {"key": self.place["Key"], "etag": answer["ETag"], "version": answer.get("VersionId")}

    def _drop(self, version: Optional[str]) -> bool:
        """Deletes one version for good, so that a versioned bucket does not pile up locks; False if it may not."""
        if not version or version == "null":
            return False
        try:
            self.s3.delete_object(**self.place, VersionId=version)
        except (ClientError, BotoCoreError):
            return False
        return True

    def renew(self, lock: dict[str, Any]) -> bool:
        """Puts the lock again, which begins its time anew; False when it is gone or somebody else's."""
        with storage_errors(self.storage, "renewing the lock"):
            found = self._read()
            if found is None or parse(found["data"]).get("run_id") != lock["run_id"]:
                return False
            ours = {"Body": found["data"], "ContentType": "application/json"}
            try:
                self.s3.put_object(**self.place, **ours, IfMatch=found["ETag"])
            except ClientError as error:
                if error_code(error) in ("NotImplemented", "501"):
                    self.s3.put_object(**self.place, **ours)
                elif error_code(error) in (*_TAKEN, "NoSuchKey", "404"):
                    return False
                else:
                    raise
            self._drop(found.get("VersionId"))
            return True

    def release(self, lock: dict[str, Any]) -> Optional[dict[str, Any]]:
        """Deletes the lock, if nobody took it over; gives who did."""
        with storage_errors(self.storage, "unlocking the procedure"):
            found = self._read()
            if found is None:
                return None
            holder = parse(found["data"])
            if holder.get("run_id") != lock["run_id"]:
                return holder
            if self._drop(found.get("VersionId")):
                return None
            try:
                self.s3.delete_object(**self.place, IfMatch=found["ETag"])
            except ClientError as error:
                if error_code(error) in ("NotImplemented", "501"):
                    self.s3.delete_object(**self.place)
                elif error_code(error) not in (*_TAKEN, "NoSuchKey", "404"):
                    raise
        return None

    def remove(self) -> None:
        """Deletes the lock, whoever has it."""
        with storage_errors(self.storage, "removing the lock"):
            found = self._read()
            if found is not None and not self._drop(found.get("VersionId")):
                self.s3.delete_object(**self.place)


def _text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
