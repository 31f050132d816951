# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps a restored server from what is its source's."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import List, Optional

from .._isolation import walls
from .._postgres.instance import Account


def apart(folder: Path, user: Optional[Account], guarded: List[str], identifier: Optional[str]) -> walls.Walls:
    """What a server in our folder may write, and the source's paths, which it must not.

    :param folder: ours, with the folders "tablespaces" and "root", which is empty
    """

    def make(name: str) -> str:
        path = folder / "tablespaces" / name
        path.mkdir(mode=0o700)
        if user:
            os.chown(path, user.uid, user.gid)
        return str(path)

    here = [path for path in walls.servers_here() if not path.startswith(f"{folder}/")]
    whom = walls.User(user.uid, user.gid, []) if user else None
    return walls.Walls([str(folder)], make, folder / "root", whom, [*guarded, *here], identifier)


def check_apart(directory: str, user: Optional[Account], identifier: str) -> None:
    """Whether a server can be started here so that it cannot write what is the source's.

    :raises ConfigurationError: it cannot
    """
    folder = Path(tempfile.mkdtemp(prefix=".tradingflow-apart-", dir=directory))
    try:
        folder.chmod(0o711)
        (folder / "root").mkdir()
        (folder / "data").mkdir()
        if user:
            os.chown(folder / "data", user.uid, user.gid)
        apart(folder, user, [], identifier).check(str(folder / "data"))
    finally:
        shutil.rmtree(folder)
