# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cluster that is put aside has in tablespaces: written down then, and removed with it if it still is that.

A tablespace's location may hold those of other versions, and be a mount point: what is removed is the folder in it
that is the cluster's own, of its version, known by device, inode and when it was made.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

from .._isolation import walls
from .._isolation.processes import identity, mark, same
from ..errors import ConfigurationError

_LINKS = "pg_tblspc"


def of_cluster(directory: Path) -> List[Dict[str, Any]]:
    """The folders that a data directory has in tablespaces: path and mark of each."""
    try:
        major = int((directory / "PG_VERSION").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return []
    own = re.compile(rf"PG_{major}_\d+")
    found: List[Dict[str, Any]] = []
    for location in _locations(directory):
        with suppress(OSError):
            for entry in sorted(os.scandir(location), key=lambda each: each.name):
                if own.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    found.append({"path": entry.path, "mark": mark(entry.path)})
    return found


def paths(kept: Dict[str, Any]) -> List[str]:
    """Those of something that lies aside and are still there."""
    return [each["path"] for each in kept.get("spaces") or [] if same(each["path"], each["mark"])]


def named(kept: List[Dict[str, Any]], name: str) -> List[str]:
    """Those of a directory, by its name."""
    return [path for each in kept if (each["kind"], each["name"]) == ("directory", name) for path in paths(each)]


def with_spaces(kind: str, name: str, spaces: Optional[List[str]]) -> str:
    """Something that lies aside, for people."""
    return f"{kind} {name}" + (f" (with its tablespaces in {', '.join(spaces)})" if spaces else "")


def left(directory: Path, recorded: Optional[List[Dict[str, Any]]]) -> List[str]:
    """What it points to, and is not removed with it: it is not what was written down, or nothing was."""
    known = [each["path"] for each in recorded or [] if same(each["path"], each["mark"])]
    found = [each["path"] for each in of_cluster(directory) if each["path"] not in known]
    wal = directory / "pg_wal"
    return [*found, *([os.path.realpath(wal)] if wal.is_symlink() else [])]


def check_unused(directory: Path, recorded: Optional[List[Dict[str, Any]]]) -> None:
    """Raises ConfigurationError when another cluster of this host has one of them, whether it runs or not."""
    used = _used_by_others(directory)
    for each in recorded or []:
        for path in (each["path"], os.path.dirname(each["path"])):
            owner = used.get(identity(path) or (0, 0))
            if owner:
                raise ConfigurationError(
                    f"{each['path']} was put aside with {directory}, and {owner} uses it now.",
                    "Somebody moved a cluster: see which one is in use. Nothing was removed.",
                )


def remove(recorded: Optional[List[Dict[str, Any]]]) -> None:
    """Removes them, if they are still those; their locations too where they are empty and were made by a restore."""
    for each in recorded or []:
        if not same(each["path"], each["mark"]):
            continue
        shutil.rmtree(each["path"])
        location = Path(each["path"]).parent
        if _MADE.fullmatch(location.parent.name):
            with suppress(OSError):  # not empty
                location.rmdir()
                location.parent.rmdir()


#: The folder in which a restore makes those of its tablespaces, see tablespaces.Spaces.
_MADE = re.compile(r".+_tablespaces_\d{8}t\d{6}z_[0-9a-f]{6}", re.DOTALL)


def _locations(directory: Path) -> List[str]:
    try:
        links = sorted((directory / _LINKS).iterdir())
    except OSError:
        return []
    return [os.path.realpath(link) for link in links if link.is_symlink()]


def _used_by_others(directory: Path) -> Dict[Tuple[int, int], str]:
    """Locations of all other clusters that are beside it or run here, by device and inode."""
    own = identity(directory)
    found: Dict[Tuple[int, int], str] = {}
    for other in _others(directory):
        if identity(other) == own:
            continue
        for location in _locations(other):
            what = identity(location)
            if what:
                found[what] = str(other)
    return found


def _others(directory: Path) -> Iterator[Path]:
    seen: Set[str] = set()
    for path in [*map(str, directory.parent.iterdir()), *walls.servers_here()]:
        if path not in seen and os.path.isdir(os.path.join(path, _LINKS)):
            seen.add(path)
            yield Path(path)
