# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file of a running server: checked, put in place whole, loaded, compared with what the server says; or taken back.

Beside it stay FILE.old, what was there before, and while nobody knows yet whether the server took the new one,
FILE.pending: a run that finds it does not take the file for one that ever worked.
"""

from __future__ import annotations

import fcntl
import grp
import os
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Callable, Iterator, List, Optional

from ..errors import ConfigurationError, LockedError, MaintenanceError
from ..masking import masked
from .server import Server

#: Bytes of a file that is there which are read.
MOST = 16 << 20
#: Seconds to wait for another run.
PATIENCE = 10.0


@dataclass
class Unit:
    """A file and whose it is.

    :param path: where it belongs
    :param text: what it is to be
    :param mode: of a new one
    :param edited: whether a text is not as an earlier run left it
    :param ours: whether a text was made for this environment, also after an edit by hand
    :param made: whether it was made for any
    :param valid: raises MaintenanceError when the server would refuse a file's text
    :param server: who reads it; None when nobody is to be asked
    :param shown: a text as the report may have it
    :param loaded: what the server has otherwise than the text says; empty when it has exactly that
    """

    path: str
    text: str
    mode: int
    edited: Callable[[str], bool]
    ours: Callable[[str], bool]
    made: Callable[[str], bool]
    valid: Callable[[str], None]
    server: Optional[Server] = None
    loaded: Callable[[], List[str]] = list
    group: Optional[str] = None
    adopt: bool = False
    shown: Callable[[str], str] = masked


@dataclass
class Outcome:
    """What became of a unit.

    :param before: the text that was there; None when there was none
    :param mode: of that file
    :param changed: whether the file was replaced, or would be
    :param reloaded: whether the server was had to read it
    :param edited: whether somebody had changed the file by hand
    :param differences: what the server has otherwise at the end; None when it was not asked
    :param problem: why the new text is not in place; empty when it is
    :param back: after a problem, whether what was there before is in place and loaded again
    """

    before: Optional[str] = None
    mode: Optional[int] = None
    changed: bool = False
    reloaded: bool = False
    edited: bool = False
    differences: Optional[List[str]] = None
    problem: str = ""
    remedy: str = ""
    back: bool = True
    notes: List[str] = field(default_factory=list)


def read(path: str) -> Optional[str]:
    """The text of a file; None when there is none.

    :raises ConfigurationError: it is no ordinary file, or cannot be read
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", "It must be a file of its own.") from None
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ConfigurationError(f"{path} is no ordinary file.", "Name a file of its own.")
        return stream.read(MOST).decode("utf-8", "replace")


def place(unit: Unit, check_mode: bool) -> Outcome:
    """Brings the file and the server to the text.

    :raises MaintenanceError: nothing was changed; why not
    """
    folder = os.path.dirname(unit.path)
    if not os.path.isdir(folder):
        raise ConfigurationError(f"The folder {folder} does not exist.", "Make it, or correct the path.")
    unit.valid(unit.text)
    if check_mode:
        return _looked(unit)
    with _alone(folder):
        outcome = _looked(unit)
        if not outcome.changed and not outcome.differences:
            _forget(unit.path + ".pending")
            return outcome
        return _replaced(unit, outcome)


def _looked(unit: Unit) -> Outcome:
    before = read(unit.path)
    outcome = Outcome(before, changed=before != unit.text)
    outcome.mode = stat.S_IMODE(os.stat(unit.path).st_mode) if before is not None else None
    outcome.edited = before is not None and unit.edited(before)
    if outcome.edited and not outcome.changed:
        outcome.edited = False
    if before is not None and outcome.changed and not unit.adopt and not unit.ours(before):
        whose = "of another environment" if unit.made(before) else "not of our making"
        raise ConfigurationError(
            f"{unit.path} is there and {whose}; it was left as it is.",
            "Name another file; or set monitoring_config_adopt: true, once, to take its place (FILE.old keeps it).",
        )
    if unit.server is not None:
        outcome.differences = unit.loaded()
    return outcome


def _replaced(unit: Unit, outcome: Outcome) -> Outcome:
    old, pending = unit.path + ".old", unit.path + ".pending"
    # What a run left that was ended half-way never worked: what worked is the file before it.
    good = (read(old) if os.path.exists(old) else None) if os.path.exists(pending) else outcome.before
    if not os.path.exists(pending):
        if outcome.before is None:
            _forget(old)
        elif outcome.changed:
            _write(old, outcome.before, unit, like=unit.path)
    if outcome.changed:
        _write(pending, "", unit)
        _write(unit.path, unit.text, unit, like=unit.path)
    if unit.server is not None:
        try:
            _load(unit, outcome)
        except Exception as error:
            _take_back(unit, outcome, good, error)
            return outcome
    _forget(pending)
    return outcome


def _load(unit: Unit, outcome: Outcome) -> None:
    if unit.server is None:
        return
    unit.server.reload()
    outcome.reloaded = True

    def same() -> bool:
        outcome.differences = unit.loaded()
        return not outcome.differences

    if not unit.server.until(same):
        first = (outcome.differences or ["nothing is said"])[0]
        raise MaintenanceError(
            f"{unit.server.name} was reloaded, and has something else: {first}",
            f"See that its configuration names {unit.path}, and that it reads that file.",
        )


def _take_back(unit: Unit, outcome: Outcome, good: Optional[str], error: Exception) -> None:
    """What was there before, loaded again. An error of ours is no reason to leave the new one."""
    outcome.problem = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
    outcome.remedy = getattr(error, "remedy", "")
    outcome.differences = None
    try:
        if good is None:
            _forget(unit.path)
        elif good != read(unit.path):
            # Also in who may read it: the server that could must be able to again.
            _write(unit.path, good, unit, like=unit.path, mode=outcome.mode)
        outcome.changed = good != outcome.before
        if unit.server is not None:
            unit.server.reload()
        _forget(unit.path + ".pending")
    except (MaintenanceError, OSError) as failed:
        outcome.back = False
        outcome.notes.append(str(failed))


def _write(path: str, text: str, unit: Unit, like: Optional[str] = None, mode: Optional[int] = None) -> None:
    """A file replaced in one step, with the owner and mode of the one it is like, where that is there.

    Of a unit that is not for all the mode is no more than that; mode is the one to take whatever that says.
    """
    folder, name = os.path.split(path)
    # Not to be taken for a file of rules by a server that reads *.yml.
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".new")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
            _owned(handle, unit, like, mode)
        os.replace(temporary, path)
    except BaseException:
        _forget(temporary)
        raise
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _owned(handle: int, unit: Unit, like: Optional[str], wanted: Optional[int]) -> None:
    uid, gid, mode = -1, -1, unit.mode
    if like is not None and os.path.exists(like):
        known = os.stat(like)
        uid, gid, mode = known.st_uid, known.st_gid, stat.S_IMODE(known.st_mode)
        if not unit.mode & 0o007:
            mode &= 0o660
    if unit.group:
        try:
            gid = grp.getgrnam(unit.group).gr_gid
        except KeyError:
            raise ConfigurationError(f"There is no group {unit.group} on the host.", "Correct group.") from None
    if (uid, gid) != (-1, -1):
        try:
            os.fchown(handle, uid, gid)
        except PermissionError:
            raise ConfigurationError(
                f"{unit.path} cannot be given to its owner and group.", "Run as root, or as the file's owner."
            ) from None
    os.fchmod(handle, mode if wanted is None else wanted)


def _forget(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Whoever puts files into a folder does so alone; a process that dies leaves no lock.

    :raises LockedError: another one is at it
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise LockedError(
                        f"Another run puts files into {folder}.", "Wait until it has ended, and run again."
                    ) from None
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)
