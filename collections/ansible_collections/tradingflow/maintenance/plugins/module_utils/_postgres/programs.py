# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's client programs: where they are, what they can do, and running them so that none outlives us."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import tempfile
from typing import List, Optional, Tuple

from .._storage import squeeze
from ..errors import ConfigurationError

#: Level of each compression when none is asked for: what one core keeps up with.
DEFAULT_LEVELS = {"zstd": 1, "lz4": 1, "gzip": 1, "none": 0}
#: What pg_restore says of a compression that it was built without, as a warning first: it lists the dump all the same.
NOT_BUILT = "does not support compression"
SUFFIXES = {"zstd": ".zst", "lz4": ".lz4", "gzip": ".gz", "none": ""}


def find(name: str, directory: Optional[str]) -> str:
    """Path of a client program.

    :param directory: where to look; None for the PATH
    :raises ConfigurationError: it is not there
    """
    path = shutil.which(name, path=directory or None)
    if path is None:
        raise ConfigurationError(
            f"{name} was not found in {directory or 'the PATH'}.",
            "Install the PostgreSQL client of the server's version, or correct backup_pg_bin_dir.",
        )
    return path


def version(program: str) -> Tuple[int, int]:
    """Major and minor version a client program says it has.

    :raises ConfigurationError: it does not run
    """
    try:
        text = subprocess.run([program, "--version"], check=True, capture_output=True, text=True, timeout=30).stdout
        match = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", text)
        if match:
            return int(match.group(1)), int(match.group(2) or 0)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{program} does not run: {error}", "Reinstall the PostgreSQL client.") from None
    raise ConfigurationError(f"{program} does not say its version: {text!r}", "Check backup_pg_bin_dir.")


def compression(
    pg_dump: str, major: int, wanted: str, level: Optional[int], *, free_bytes: int
) -> Tuple[str, int, bool]:
    """Name and level of the best compression to be had, or of the one asked for, and whether ISA-L does it.

    :param wanted: auto, zstd, lz4, gzip or none
    :param free_bytes: of scratch space
    :raises ConfigurationError: the client was built without the one asked for
    """
    for name in ["zstd", "gzip by ISA-L", "lz4", "gzip", "none"] if wanted == "auto" else [wanted]:
        if name.startswith("gzip") and squeeze.available(free_bytes) and (level is None or level in squeeze.LEVELS):
            return "gzip", DEFAULT_LEVELS["gzip"] if level is None else level, True
        if name == "gzip by ISA-L":
            continue
        chosen = DEFAULT_LEVELS[name] if level is None else level
        if name == "none":
            return name, 0, False
        if _accepts(pg_dump, compress_arguments(major, name, chosen)):
            return name, chosen, False
    raise ConfigurationError(
        f"{pg_dump} cannot compress with {wanted} at level {level}.",
        "Use backup_compression=auto, or a client that was built with it.",
    )


def compress_arguments(major: int, name: str, level: int) -> List[str]:
    """pg_dump's option; before version 16 there is only gzip, by level."""
    if major >= 16:
        return ["--compress=none" if name == "none" else f"--compress={name}:{level}"]
    return [f"--compress={level if name == 'gzip' else 0}"] if name in ("gzip", "none") else [f"--compress={name}"]


def _accepts(pg_dump: str, arguments: List[str]) -> bool:
    # pg_dump judges --compress before it connects; a socket directory without a socket ends it right after.
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [pg_dump, "-Fd", "-f", os.path.join(empty, "dump"), *arguments, "-h", empty, "-d", "none", "-w"],
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
        return "connection to server" in done.stderr or "could not connect" in done.stderr


INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")


def installed(major: int, *, newer: bool = True) -> List[str]:
    """Where distributions put a server's programs, which are in no PATH: of this major version, then of newer ones."""
    found = {}
    for pattern in INSTALLED:
        for folder in glob.glob(pattern):
            number = re.search(r"(\d+)/bin$", folder)
            if number and (int(number[1]) == major or (newer and int(number[1]) > major)):
                found[int(number[1])] = folder
    return [found[number] for number in sorted(found)]
