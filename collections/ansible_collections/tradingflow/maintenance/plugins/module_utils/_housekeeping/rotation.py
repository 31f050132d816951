# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotation of logs: configurations that are managed, the state repaired, and what is wrong with the rest."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, Optional

from .._logs.names import listed, log_of
from .._work.asked import asked
from ..errors import HousekeepingError
from ..run import write_private
from ..words import printable
from . import state as states
from .concluded import concluded
from .logrotate import copied, files, text_of, told

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_DAY = 86400.0
#: A log is late when it was not rotated for so many of its periods, and a day.
_LATE = 2


class Rotation:
    """The rotation of a host's logs.

    :param options: see options.ROTATION
    """

    def __init__(self, options: Dict[str, Any]) -> None:
        self.options = options
        self.config = str(options["config"])
        self.state = str(options["state"])
        self.program = str(options["program"])
        self.environment: Dict[str, str] = options.get("environment") or {}
        self.folder = os.path.join(os.path.dirname(self.config), "logrotate.d")

    def plan(self) -> Dict[str, Any]:
        """What is wrong, and what would be written. Nothing is changed."""
        known = self._known()
        before = told(self.program, self.config, self.state, self.environment)
        items = self._items(known)
        late = self._late(before.periods, known)
        return {
            "items": [{key: value for key, value in item.items() if key != "content"} for item in items],
            "errors": [each for each in before.errors if " in state file " not in each],
            "faults": known.faults,
            "logs": len(before.periods),
            "late": late,
            "never": self._never(before.periods, known),
            "copied": self._copied(),
            "unrotated": self._unrotated(before.periods),
        }

    def apply(self, tokens: Collection[str]) -> Dict[str, Any]:
        """Writes what was planned and is still to be written, then looks again.

        :returns: the plan as it is afterwards, with done: rows of what was written
        """
        done: Dict[str, List[Dict[str, Any]]] = {"written": [], "failed": []}
        for item in self._items(self._known()):
            if item["token"] not in tokens:
                continue
            row = {"name": item["name"], "what": item["what"]}
            try:
                if item["what"] == "state":
                    row["kept"] = self._repair()
                else:
                    self._write(item)
                done["written"].append(row)
            except (HousekeepingError, OSError) as error:
                done["failed"].append({**row, "why": str(error)})
        return concluded(self.plan, done)

    def _known(self) -> states.State:
        try:
            with open(self.state, "rb") as stream:
                return states.parsed(stream.read())
        except FileNotFoundError:
            return states.State({}, [])
        except OSError as error:
            raise HousekeepingError(
                f"The state of logrotate cannot be read: {error}.", "Run it as root (become: true)."
            ) from None

    def _items(self, known: states.State) -> List[Dict[str, Any]]:
        items = []
        if known.faults:
            items.append(self._item("state", self.state, "\n".join(known.faults)))
        for config in self.options["managed"]:
            text = text_of(config)
            path = os.path.join(self.folder, config["name"])
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                    now = stream.read()
            except FileNotFoundError:
                now = ""
            if now != text:
                items.append({**self._item("configuration", path, now, text), "content": text})
        return items

    def _item(self, what: str, name: str, *parts: str) -> Dict[str, Any]:
        raw = "\0".join([what, name, *parts]).encode("utf-8", "surrogateescape")
        return {"what": what, "name": printable(name), "path": name, "token": hashlib.sha256(raw).hexdigest()[:32]}

    def _write(self, item: Dict[str, Any]) -> None:
        """Puts a configuration in place, once logrotate understands it alone and with all others.

        :raises HousekeepingError: it does not; what was there before is there again
        """
        path = item["path"]
        before: Optional[bytes] = None
        with suppress(FileNotFoundError), open(path, "rb") as stream:
            before = stream.read()
        known = told(self.program, self.config, self.state, self.environment).errors
        with tempfile.TemporaryDirectory(prefix="tradingflow-") as folder:
            # Of another name than a file in the folder: logrotate would read it there.
            candidate = os.path.join(folder, os.path.basename(path))
            _put(candidate, item["content"].encode())
            self._understood(told(self.program, candidate, os.path.join(folder, "state"), self.environment).errors, [])
        _put(path, item["content"].encode())
        try:
            self._understood(told(self.program, self.config, self.state, self.environment).errors, known)
        except HousekeepingError:
            if before is None:
                os.unlink(path)
            else:
                _put(path, before)
            raise

    def _understood(self, errors: List[str], known: List[str]) -> None:
        new = [each for each in errors if each not in known]
        if new:
            raise HousekeepingError(f"logrotate refuses it: {new[0]}.", "Correct housekeeping_rotation.")

    def _repair(self) -> str:
        """Writes the state anew: what is understood of it, and of other logs when their last rotation was, by its file.

        :returns: where the damaged one is kept
        :raises HousekeepingError: logrotate is at work
        """
        with _held(self.state):
            known = self._known()
            kept = f"{self.state}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
            with open(self.state, "rb") as stream:
                damaged = stream.read()
            status = os.stat(self.state)
            write_private(Path(kept), damaged)
            entries = dict(known.entries)
            for log in told(self.program, self.config, os.devnull, self.environment).periods:
                raw = os.fsencode(log)
                if raw not in entries:
                    at = self._rotated(log)
                    if at is not None:
                        entries[raw] = states.date(datetime.fromtimestamp(at))
            write_private(Path(self.state), states.written(entries))
            os.chmod(self.state, status.st_mode & 0o777)
            os.chown(self.state, status.st_uid, status.st_gid)
        return kept

    def _rotated(self, log: str) -> Optional[float]:
        """When the newest file was rotated away from a log: renamed or compressed, so by its ctime.

        Its mtime is of the last line, long before that with a log that is seldom written to.
        """
        times = []
        for path in listed(glob.escape(log)).paths:
            if path != log:
                with suppress(OSError):
                    times.append(os.stat(path).st_ctime)
        return min(max(times), time.time()) if times else None

    def _late(self, periods: Dict[str, Any], known: states.State) -> List[Dict[str, Any]]:
        now = time.time()
        since: Dict[str, float] = {}
        for log in periods:
            text = known.entries.get(os.fsencode(log))
            at = states.moment(text) if text else None
            if at is not None:
                since[log] = at.timestamp()
        since = {**_born([log for log in periods if log not in since]), **since}
        late = []
        for log, days in sorted(periods.items()):
            if days is None or log not in since:
                continue
            with suppress(OSError):
                age = (now - since[log]) / _DAY
                if age > _LATE * days + 1 and os.stat(log).st_size:
                    late.append({"log": printable(log), "days": round(age, 1), "period": days})
        return late

    def _never(self, periods: Dict[str, Any], known: states.State) -> str:
        """The state file, when logrotate has never written to it though there are logs; else nothing."""
        return printable(self.state) if periods and not known.entries and not known.faults else ""

    def _copied(self) -> List[str]:
        try:
            return [printable(each, 300) for path, text in files(self.config) for each in copied(path, text)]
        except OSError as error:
            raise HousekeepingError(
                f"The configuration of logrotate cannot be read: {error}.", "Run it as root (become: true)."
            ) from None

    def _unrotated(self, periods: Dict[str, Any]) -> List[Dict[str, Any]]:
        """Logs that nobody rotates: declared to be, not among those that logrotate knows, and with no rotated file."""
        found = []
        known = {os.path.realpath(log) for log in periods}
        for pattern in self.options["rotated"]:
            for log in sorted(glob.glob(pattern, recursive=True)):
                if (
                    not os.path.isfile(log)
                    or os.path.islink(log)
                    or os.path.realpath(log) in known
                    or log_of(log) != log
                ):
                    continue
                status = os.stat(log)
                if status.st_size and self._rotated(log) is None:
                    found.append({"log": printable(log), "bytes": status.st_size})
        return found


def _put(path: str, content: bytes) -> None:
    """A file of the configuration, whole or not at all; logrotate takes none that others could write to."""
    # It leaves out names with this ending.
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".tradingflow-", suffix=".dpkg-tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), 0o644)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _born(logs: List[str]) -> Dict[str, float]:
    """Since when logs have been there, in s since 1970: since they were last written to at the latest."""
    found: Dict[str, float] = {}
    for log in logs:
        with suppress(OSError):
            found[log] = os.stat(log).st_mtime
    if found:
        with suppress(OSError, TimeoutError):
            # Python does not tell it; 0 and - are for file systems that do not know, ? for a program that does not.
            said = asked(["stat", "--format=%W", "--", *found], _ENVIRONMENT, 60).text.split()
            if len(said) == len(found):
                for place, log in enumerate(list(found)):
                    born = said[place]
                    if born.isdigit() and int(born):
                        found[log] = min(found[log], float(born))
    return found


@contextmanager
def _held(path: str) -> Iterator[None]:
    """Keeps logrotate away: it locks its state.

    :raises HousekeepingError: it has it
    """
    with open(path, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HousekeepingError("logrotate is at work.", "Run it again when it has ended.") from None
        yield
