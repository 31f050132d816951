# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore begins with, so that pgBackRest fetches only what differs from the backup: a copy of the old cluster,
or what a restore that was killed had fetched."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

from .._work.programs import child_setup

#: WAL comes from the archive; a postmaster.pid would mean that the copy is a running server's.
_NOT = ("pg_wal", "pg_tblspc", "postmaster.pid", "postmaster.opts")
#: Without one of them, pgBackRest takes the directory for no cluster.
_MARK, _UNFINISHED = "PG_VERSION", "backup.manifest"


def copy(old: str, new: Path, identity: Any, tick: Callable[[], None]) -> bool:
    """Copies a data directory, sharing blocks where the file system can. The old one may be in use, or damaged.

    Whether a file is whole is not looked at: pgBackRest compares the checksum of each with the backup's.

    :param new: exists, and is empty
    :param identity: what subprocess takes to run as the server's user
    :returns: whether there is anything to begin with; else the directory is empty as before
    """
    if not os.path.exists(os.path.join(old, _MARK)):
        return False
    entries = [entry for entry in os.scandir(old) if entry.name not in _NOT and not entry.is_symlink()]
    # The mark last, so that it is there only when all others were tried.
    paths = [entry.path for entry in sorted(entries, key=lambda entry: entry.name == _MARK)]
    with subprocess.Popen(
        ["cp", "--archive", "--reflink=auto", "--", *paths, str(new)],
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        # A server that runs removes files in the middle of it; what is missing is fetched.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=child_setup(0),
        **identity,
    ) as process:
        try:
            while process.poll() is None:
                tick()
                time.sleep(0.05)
        except BaseException:
            process.kill()
            raise
    return (new / _MARK).exists()


def usable(half: Path) -> bool:
    """Whether pgBackRest can go on with what another restore left, where nothing runs any more."""
    (half / "postmaster.pid").unlink(missing_ok=True)
    return any((half / name).exists() for name in (_MARK, _UNFINISHED))


def size(folder: Path) -> int:
    """Bytes that a directory takes on its disk."""
    found = 0
    for name, _folders, files in os.walk(folder):
        for each in files:
            with suppress(FileNotFoundError):
                found += os.lstat(os.path.join(name, each)).st_blocks * 512
    return found
