# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Long work of a module: apart from the module, in a process of its own that reports into a folder."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple

from ..errors import MaintenanceError


class Kind(NamedTuple):
    """What sort of work it is.

    :param name: in messages and in the names of folders, e.g. backup
    :param role: what its variables begin with
    """

    name: str
    role: str


BACKUP = Kind("backup", "backup")
DRILL = Kind("drill", "restore_drill")
RESTORE = Kind("restore", "restore")
MIGRATION = Kind("migration", "migration")
DATA_UPDATE = Kind("data-update", "data_update")


def described(error: MaintenanceError) -> Dict[str, Any]:
    """An expected error as JSON data."""
    return {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}


def outcome(work: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
    """The result of some work; an error as {"error": {kind, message, remedy}}."""
    try:
        return work()
    except MaintenanceError as error:
        return {"error": described(error)}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"Unexpected {type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {error}"
        return {"error": {"kind": "unexpected", "message": text, "remedy": "This is a defect: please report it."}}


def detach(directory: Path, work: Callable[[], Dict[str, Any]]) -> int:
    """Leaves work to a process of its own, which puts what it returns into result.json: no secret is on disk for it.

    :param directory: the job's folder, see scratch.job_directory
    :param work: does not raise, and gives JSON data with secrets masked
    :returns: the process's id
    """
    (directory / "alive").touch(mode=0o600)
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for handle in (0, 1, 2):
            os.dup2(null, handle)
        os.closerange(3, 1024)
        (directory / ".result.json").write_text(json.dumps(work(), ensure_ascii=True), encoding="ascii")
        os.replace(directory / ".result.json", directory / "result.json")
    finally:
        # Not through the interpreter's end: the parent's temporary files are not ours to remove.
        os._exit(0)
