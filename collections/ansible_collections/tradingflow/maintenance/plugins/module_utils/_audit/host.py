# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything of one host for a period, in a folder there: one source after the other, resumed after a kill."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pwd
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

from ..errors import ConfigurationError, EvidenceError, LockedError, MaintenanceError
from ..masking import masked
from . import clock_history, containers, facts, journals, log_files
from .collected import COLLECTOR, COMPLETE, FAILED, NAME, Collected, Period, Source, encoded, safe_path
from .journal_files import FOLDERS
from .packing import Scratch, digest_of
from .period import unsettled

#: Shows that a folder was made here, and remembers what is done.
MARKER = ".tradingflow-audit"

#: What others write, who may be late.
_LOGS = ("journal", "log_file", "container")

Collector = Callable[[Scratch, Period, Dict[str, Any]], Source]

LOG_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "kind": {"type": "str", "choices": ["file", "container", "kubernetes"], "default": "file"},
    "path": {"type": "str", "default": ""},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "container": {"type": "str", "default": ""},
    "runtime": {"type": "str", "choices": ["docker", "podman", "crictl"], "default": "docker"},
    "time_pattern": {"type": "str", "default": ""},
    "time_format": {"type": "str", "default": ""},
    "time_zone": {"type": "str", "default": "local"},
    "empty_ok": {"type": "bool", "default": False},
    "fresh_ok": {"type": "bool", "default": False},
}
PERIOD_SPEC: Dict[str, Any] = {"from": {"type": "str", "required": True}, "to": {"type": "str", "required": True}}
SPEC: Dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "period": {"type": "dict", "required": True, "options": PERIOD_SPEC},
    "staging": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "owner": {"type": "str", "default": ""},
    "journal": {"type": "bool", "default": True},
    "versions": {"type": "bool", "default": True},
    "clock": {"type": "bool", "default": True},
    "logs": {"type": "list", "elements": "dict", "default": [], "options": LOG_SPEC},
    "journal_folders": {"type": "list", "elements": "path", "default": FOLDERS},
    "chrony_folder": {"type": "path", "default": "/var/log/chrony"},
    "clock_measured": {"type": "list", "elements": "str", "default": []},
    "max_bytes": {"type": "int", "default": 20_000_000_000},
    "settle": {"type": "int", "default": 900},
    "timeout": {"type": "int", "default": 900},
    "workers": {"type": "int", "default": 2},
}


def period_of(given: Dict[str, Any]) -> Period:
    """The option "period".

    :raises ConfigurationError: it is none, or has not ended
    """
    try:
        period = Period.from_dict({"from": given["from"], "to": given["to"]})
    except EvidenceError as error:
        raise ConfigurationError(
            error.message.replace("What was collected cannot be used: ", "The period cannot be collected: "),
            "Give both ends as 2026-10-01T00:00:00Z.",
        ) from None
    if period.epochs()[1] > time.time():
        raise ConfigurationError(
            f"The period has not ended: it ends at {period.end}.", "Collect it after that, or a shorter one now."
        )
    return period


def collect(options: Dict[str, Any]) -> Dict[str, Any]:
    """Collects; whatever is wrong with a source is said in what is collected.

    :param options: see SPEC
    :returns: collected, staging, files (relative to staging)
    :raises ConfigurationError: an option makes no sense, or the folder is not one of these
    :raises LockedError: another one collects there
    """
    period, planned = period_of(options["period"]), _planned(options)
    result = Collected(options["host"], period, COLLECTOR)
    Collected.from_dict(result.to_dict())
    owner = _owner(options["owner"])
    with _folder(options["staging"], owner) as (folder, marker):
        state = _State(marker, period, options["host"])
        scratch = Scratch(folder, options["max_bytes"])

        def one(plan: Tuple[str, str, Collector, Dict[str, Any]]) -> Source:
            name, kind, collector, given = plan
            known = state.known(folder, name, given)
            if known is not None:
                scratch.take(sum(file.size for file in known.files))
                return known
            source = _collected(scratch, period, name, kind, collector, given)
            state.remember(source, given)
            return source

        workers = max(1, options["workers"])
        state.sweep(folder, {plan[0]: plan[3] for plan in planned})
        with ThreadPoolExecutor(workers, thread_name_prefix="audit") as pool:
            result.sources = list(pool.map(one, planned))
        text = encoded(Collected.from_dict(result.to_dict()))
        _write(os.path.join(folder, NAME), text)
        files = sorted(file.path for source in result.sources for file in source.files)
        if owner is not None:
            _hand_over(folder, owner)
    return {"collected": result.to_dict(), "staging": folder, "files": [NAME, *files]}


def remove(staging: str, owner: str) -> bool:
    """Removes a folder that was made here; whether there was one.

    :raises ConfigurationError: it is another's
    :raises LockedError: somebody collects there
    """
    if not os.path.lexists(staging):
        return False
    with _folder(staging, _owner(owner)) as (folder, _marker):
        shutil.rmtree(folder)
    return True


def _planned(options: Dict[str, Any]) -> List[Tuple[str, str, Collector, Dict[str, Any]]]:
    """Name, kind, function and options of each source."""
    common = {name: options[name] for name in ("timeout", "workers", "settle", "journal_folders", "chrony_folder")}
    plans: List[Tuple[str, str, Collector, Dict[str, Any]]] = []
    if options["journal"]:
        plans.append(("journal", "journal", journals.collect, common))
    for log in options["logs"]:
        given = {**log, "timeout": options["timeout"], "settle": options["settle"]}
        if log["kind"] == "file":
            if not os.path.isabs(log["path"]):
                raise ConfigurationError(f"The log {log['name']} has no absolute path.", "Give its path.")
            plans.append((log["name"], "log_file", log_files.collect, given))
        elif log["kind"] == "container":
            plans.append((log["name"], "container", containers.collect, given))
        else:
            plans.append((log["name"], "kubernetes", lambda _scratch, _period, log: containers.kubernetes(log), given))
    if options["versions"]:
        plans.append(("versions", "versions", facts.versions, common))
    if options["clock"]:
        plans.append(("clock", "clock", clock_history.collect, {**common, "measured": options["clock_measured"]}))
    names = [plan[0] for plan in plans]
    for name in names:
        if not safe_path(name) or "/" in name or name != name.lower() or names.count(name) > 1:
            raise ConfigurationError(
                f"{name!r} cannot name a log.",
                "Give each log a name of its own, of small letters, digits and _.- only.",
            )
    return plans


def _collected(
    scratch: Scratch, period: Period, name: str, kind: str, collector: Collector, given: Dict[str, Any]
) -> Source:
    """A source, whatever happens to it."""
    late = unsettled(period, given["settle"], time.time()) if kind in _LOGS else ""
    try:
        source = collector(scratch, period, given)
        if late and source.outcome == COMPLETE:
            source.concluded([late])
        return Source.from_dict(source.to_dict())
    except MaintenanceError as error:
        text = error.message
    except Exception as error:  # Only this source is unknown then.
        text = f"It could not be collected: {masked(str(error))[:300] or type(error).__name__}."
    return Source(name, kind, FAILED, text)


class _State:
    """What an earlier call has finished, so that it is not done again after a kill."""

    def __init__(self, marker: Any, period: Period, host: str) -> None:
        self._marker, self._lock = marker, Lock()
        self._of = {"host": host, "period": period.to_dict()}
        self._done: Dict[str, Any] = {}
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            data = json.loads(marker.read() or "{}")
            if data["of"] == self._of:
                self._done = dict(data["done"])

    def known(self, folder: str, name: str, given: Dict[str, Any]) -> Optional[Source]:
        """A source that was complete, and whose files are still as they were."""
        try:
            entry = self._done[name]
            source = Source.from_dict(entry["source"])
        except (KeyError, TypeError, EvidenceError):
            return None
        if entry.get("options") != _key(given) or source.outcome != COMPLETE or source.name != name:
            return None
        for file in source.files:
            path = os.path.join(folder, *file.path.split("/"))
            if not os.path.isfile(path) or os.path.getsize(path) != file.size or digest_of(path) != file.sha256:
                return None
        return source

    def remember(self, source: Source, given: Dict[str, Any]) -> None:
        with self._lock:
            self._done[source.name] = {"options": _key(given), "source": source.to_dict()}
            self._marker.seek(0)
            self._marker.truncate()
            self._marker.write(json.dumps({"of": self._of, "done": self._done}))
            self._marker.flush()

    def sweep(self, folder: str, given: Dict[str, Dict[str, Any]]) -> None:
        """Removes what does not belong to a source that is kept."""
        kept: Set[str] = {MARKER}
        for name, options in given.items():
            known = self.known(folder, name, options)
            kept |= {file.path for file in known.files} if known else set()
        for place, _folders, names in os.walk(folder):
            for name in names:
                path = os.path.join(place, name)
                if os.path.relpath(path, folder) not in kept:
                    os.unlink(path)


def _key(given: Dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()


def _owner(name: str) -> Any:
    if not name:
        return None
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(f"There is no user {name!r} on this host.", "Correct owner.") from None


@contextmanager
def _folder(path: str, owner: Any) -> Iterator[Tuple[str, Any]]:
    """The staging folder, ours alone while the context lasts, and its open marker."""
    folder = os.path.normpath(path)
    if not os.path.isabs(folder) or folder == "/":
        raise ConfigurationError(
            f"{path!r} cannot be the staging folder.", "Give an absolute path of a folder to make."
        )
    with suppress(FileExistsError):
        os.makedirs(folder, mode=0o700)
    users = {os.geteuid(), owner.pw_uid if owner else os.geteuid()}
    status = os.lstat(folder)
    if stat.S_ISDIR(status.st_mode) and status.st_uid in users and status.st_uid != os.geteuid():
        # First, so that nobody else changes what is in it meanwhile.
        os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)
    _prove(folder, users)
    os.chmod(folder, 0o700)
    descriptor = os.open(os.path.join(folder, MARKER), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LockedError(f"Somebody else collects in {folder}.", "Wait until that has ended.") from None
        yield folder, marker


def _prove(folder: str, users: Set[int]) -> None:
    """That a folder is new, or was made here, and holds nothing that leads elsewhere.

    :raises ConfigurationError: it is another's
    """
    remedy = "Name another staging folder, or remove this one after looking into it."
    status = os.lstat(folder)
    names = os.listdir(folder) if stat.S_ISDIR(status.st_mode) and status.st_uid in users else None
    if names is None or (names and MARKER not in names):
        raise ConfigurationError(f"{folder} is there, and was not made by this module.", remedy)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            found = os.lstat(os.path.join(place, name))
            kind = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
            if not kind or found.st_uid not in users:
                raise ConfigurationError(f"{os.path.join(place, name)} was not made by this module.", remedy)


def _write(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(f"{path}.partial", flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.partial", path)


def _hand_over(folder: str, owner: Any) -> None:
    """Gives all to the user who fetches it; the folder last, so that nobody changes what is in it before."""
    for place, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            os.chown(os.path.join(place, name), owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    os.chown(folder, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
