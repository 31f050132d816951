# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application's files put in the place of what is there, which is kept aside."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Optional

from .._isolation.processes import end_inside, mark, same
from .._postgres.server import lower_id
from ..errors import ConfigurationError, RestoreError
from .state import State

#: What is put in place as a directory.
PARTS = ("files", "cluster")
_AT_FDCWD = -100
_EXCHANGE = 2


def check_place(directory: str) -> None:
    """Raises ConfigurationError when a directory cannot be replaced as a whole."""
    place = Path(directory)
    if os.path.islink(place):
        raise ConfigurationError(
            f"{directory} is a symbolic link, which cannot be replaced as a whole.", "Name the directory itself."
        )
    if os.path.ismount(place):
        raise ConfigurationError(
            f"{directory} is a mount point, which cannot be renamed.",
            "Restore into a directory below it, or restore the database only (restore_parts: [database]).",
        )
    if not place.parent.is_dir() or not os.access(place.parent, os.W_OK):
        raise ConfigurationError(
            f"The restore's user may not write in {place.parent}, where the old directory is put aside.",
            "Run as a user who may (become), or correct restore_data_directory.",
        )
    if place.exists() and not place.is_dir():
        raise ConfigurationError(f"{directory} is not a directory.", "Correct the directory in the inventory.")


def beside(directory: str, run_id: str) -> Path:
    """Where the new directory is made: on the same disk, so that it can be put in place by a rename."""
    place = Path(directory)
    return place.with_name(f".{place.name}.restoring_{lower_id(run_id)}")


def aside(directory: str, run_id: str) -> Path:
    """Where the old directory is kept."""
    place = Path(directory)
    return place.with_name(f"{place.name}_before_{lower_id(run_id)}")


def exchange(state: State, part: str, new: Path, directory: str, kept: Path) -> Optional[Path]:
    """Puts a directory in the place of another. What is where can be told from the state at any moment.

    :param part: files or cluster
    :returns: where the old one is now, None when there was none
    :raises RestoreError: the directory system does not do it
    """
    place = Path(directory)
    there = os.path.lexists(place)
    moving = {"new": str(new), "place": directory, "kept": str(kept), "inode": os.stat(new).st_ino, "there": there}
    moving["mark"] = mark(new)
    state.note(**{part: moving})
    try:
        swapped = _into_place(new, place, kept, there)
    except OSError as error:
        # Nothing was moved: there is nothing to be settled.
        state.note(**{part: None})
        raise RestoreError(
            f"{directory} could not be put aside: {error}", "Correct its rights, then run the restore again."
        ) from None
    if not there:
        return None
    if swapped:
        try:
            os.rename(new, kept)
        except OSError as error:
            raise RestoreError(
                f"What was in {directory} is in {new}, and could not be renamed to {kept}: {error}",
                "Correct the rights there, then run the restore again: it resumes.",
            ) from None
    return kept


def _into_place(new: Path, place: Path, kept: Path, there: bool) -> bool:
    """Puts the new directory in place; returns whether the old one is where the new one was.

    :raises OSError: nothing was moved
    """
    if not there:
        os.rename(new, place)
        return False
    if _swapped(new, place):
        return True
    os.rename(place, kept)
    try:
        os.rename(new, place)
    except OSError:
        os.rename(kept, place)
        raise
    return False


def _swapped(one: Path, other: Path) -> bool:
    """Exchanges two names in one step where the system can, so that there is never none."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    arguments = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE)
    if call(*arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def remove_made(run: Dict[str, Any]) -> None:
    """Removes directories in the making of a run that did not get to its swap, and ends what still runs in them.

    What was on its way into place may hold the old data by now: that is settle's.
    """
    moving = [run[part]["new"] for part in PARTS if run.get(part)]
    for part in ("making", "making_cluster"):
        name, mark = run.get(part), run.get(f"{part}_mark")
        if not name or name in moving or not _made(Path(name)):
            continue
        if same(name, mark):
            end_inside(Path(name))
            shutil.rmtree(name)
        elif mark is None:
            # It ended before it wrote down which directory it had made: that is empty, or another's.
            with suppress(OSError):
                os.rmdir(name)


def settle(moving: Dict[str, Any]) -> str:
    """Brings two directories of a dead run to an end: the new one is in place or gone, the old one is there.

    :returns: "in place" when the new one is, else "" (the old one is, as it was)
    """
    new, place, kept = Path(moving["new"]), Path(moving["place"]), Path(moving["kept"])
    if is_new(place, moving):
        # Only the old one's last rename is missing, if any.
        if os.path.lexists(new):
            os.rename(new, kept)
        return "in place"
    if not os.path.lexists(place) and os.path.lexists(kept):
        os.rename(kept, place)
    if is_new(new, moving):
        shutil.rmtree(new)
    elif os.path.lexists(new) and not os.path.lexists(kept):
        # Somebody took the new one away after the exchange: this is the old one.
        os.rename(new, kept)
    return ""


def put_back(state: State, part: str, kept: Path) -> Optional[Path]:
    """Puts back what a dead run replaced; what it had put in place is kept aside. Can be killed and run again.

    :param part: files or cluster
    :param kept: where what was restored goes
    :returns: where it is, None when it was not in place
    """
    moving, record = state.run[part], state.run.get(f"abandon_{part}")
    place, new = Path(moving["place"]), Path(moving["new"])
    if record is None:
        if not is_new(place, moving):
            if not os.path.lexists(place) and os.path.lexists(moving["kept"]):
                os.rename(moving["kept"], place)
            state.note(**{part: None})
            if is_new(new, moving) and _made(new):
                end_inside(new)
                shutil.rmtree(new)
            return None
        # After the exchange, before its last rename, the old one has the new one's name.
        old = Path(moving["kept"] if os.path.lexists(moving["kept"]) else new)
        record = {"old": str(old), "kept": str(kept), "inode": _inode(old)}
        if record["inode"] is None and moving["there"]:
            raise RestoreError(
                f"What was in {place} before is neither in {moving['kept']} nor in {new}.",
                "Find out who moved it. Nothing was changed.",
            )
        state.note(**{f"abandon_{part}": record})
    old, kept = Path(record["old"]), Path(record["kept"])
    if record["inode"] is None:
        os.rename(place, kept)
    elif _inode(place) == record["inode"]:
        if os.path.lexists(old):
            os.rename(old, kept)
    elif not os.path.lexists(place):
        os.rename(old, place)
    elif _swapped(old, place):
        os.rename(old, kept)
    else:
        os.rename(place, kept)
        os.rename(old, place)
    state.keep("directory", str(kept), state.run["recovery_point"], state.run["started_at"])
    state.forget(record["old"])
    state.note(**{part: None, f"abandon_{part}": None})
    return kept


def _made(path: Path) -> bool:
    """Whether a name is of a directory in the making."""
    return path.name.startswith(".") and ".restoring_" in path.name


def _inode(path: Path) -> Optional[int]:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def is_new(path: Any, moving: Dict[str, Any]) -> bool:
    """Whether the new directory is there."""
    if moving.get("mark"):
        return same(path, moving["mark"])
    return os.path.lexists(path) and os.lstat(path).st_ino == moving["inode"]
