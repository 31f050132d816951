# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tablespaces of a restored cluster: each in a new directory, never where the source has it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from .._isolation.processes import mark, same
from .._pgbackrest.info import Space
from ..errors import RestoreError
from ..refusal import Refusal
from .server import lower_id

_LINKS = "pg_tblspc"


class Spaces:
    """Where they go.

    :param directory: the cluster's data directory
    :param user: whom the server runs as
    :param spaces: of the backup
    :param chosen: by a tablespace's name the directory in which its new one is made; else beside the data directory
    """

    def __init__(
        self, directory: str, run_id: str, user: Any, spaces: List[Space], chosen: Optional[Dict[str, str]] = None
    ) -> None:
        place = Path(directory)
        self.base = place.with_name(f"{place.name}_tablespaces_{lower_id(run_id)}")
        self._user = user
        self._spaces = spaces
        self._chosen = chosen or {}
        #: Directories that were made: path and mark.
        self.made: List[List[Any]] = []
        #: Called with all of them whenever there is one more.
        self.note: Callable[[List[List[Any]]], None] = lambda made: None

    @property
    def folders(self) -> List[str]:
        """What the server writes."""
        return [path for path, _mark in self.made]

    def arguments(self) -> List[str]:
        """Makes a directory for each tablespace of the backup, and says so to pgBackRest."""
        # Whatever its configuration says: nothing goes to where links lead.
        found = ["--no-link-all", "--reset-link-map", "--reset-tablespace-map-all"]
        if not self._spaces:
            return [*found, "--reset-tablespace-map"]
        return [
            *found,
            *(f"--tablespace-map={each.oid}={self.make(str(each.oid), each.name)}" for each in self._spaces),
        ]

    def refusals(self) -> List[Refusal]:
        """What forbids it."""
        found = []
        unknown = sorted(set(self._chosen) - {each.name for each in self._spaces})
        if unknown:
            text = f"The backup has no tablespace {', '.join(unknown)}."
            found.append(Refusal("tablespaces", text, "Correct restore_cluster.tablespaces."))
        for name, directory in self._chosen.items():
            if not os.path.isabs(directory) or not os.path.isdir(directory):
                text = f"The directory {directory} for the tablespace {name} does not exist."
                found.append(Refusal("tablespaces", text, "Correct restore_cluster.tablespaces."))
        return found

    def planned(self) -> List[str]:
        """What is done, in words."""
        return [
            f"restore the tablespace {each.name} into {self._base(each.name) / str(each.oid)}; {each.location} stays"
            for each in self._spaces
        ]

    def _base(self, name: Optional[str]) -> Path:
        return Path(self._chosen[name]) / self.base.name if name in self._chosen else self.base

    def make(self, name: str, of: Optional[str] = None) -> str:
        """A new directory for a tablespace.

        :param of: the tablespace's name, where it is known
        """
        base = self._base(of)
        path = base / name
        for each in (base, path):
            if each == path or not each.exists():
                each.mkdir(mode=0o700)
                if os.geteuid() == 0:
                    os.chown(each, self._user.uid, self._user.gid)
        self.made.append([str(path), mark(path)])
        self.note(self.made)
        return str(path)

    def settle(self, directory: Path, maps: Dict[str, str]) -> None:
        """Links those that were made while the server replayed to our directories, where it ran with them.

        :param maps: our directory by the source's location
        :raises RestoreError: a tablespace would be where the source has it
        """
        own = {os.path.realpath(path) for path in self.folders}
        links = directory / _LINKS
        for link in links.iterdir() if links.is_dir() else ():
            if not link.is_symlink():
                continue  # in place: below the data directory
            target = os.readlink(link)
            if target in maps:
                new = link.with_name(f"{link.name}.new")
                new.symlink_to(maps[target])
                if os.geteuid() == 0:
                    os.chown(new, self._user.uid, self._user.gid, follow_symlinks=False)
                os.replace(new, link)
            if os.path.realpath(link) not in own:
                raise RestoreError(
                    f"The tablespace {link.name} of the restored cluster would be in {target}, which is the source's.",
                    "Make a new physical backup, and restore that one.",
                )
        # What was made and dropped again on the way.
        used = {os.path.realpath(path) for path in _targets(directory)}
        unused = [each for each in self.made if os.path.realpath(each[0]) not in used]
        remove(unused)
        self.made = [each for each in self.made if each not in unused]
        self.note(self.made)


def _targets(directory: Path) -> List[Path]:
    try:
        return [Path(os.readlink(link)) for link in (directory / _LINKS).iterdir() if link.is_symlink()]
    except OSError:
        return []


def remove(made: Optional[List[List[Any]]]) -> None:
    """Removes directories that a restore made for tablespaces, if they are still those."""
    for path, known in made or []:
        if same(path, known):
            shutil.rmtree(path)
            base = Path(path).parent
            if not os.listdir(base):
                base.rmdir()
