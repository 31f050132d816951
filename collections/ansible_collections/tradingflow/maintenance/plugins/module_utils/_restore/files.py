# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application's files of a recovery point, put in the place of its data directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List

from .._files.repository import ROLE
from .._isolation.processes import mark
from .._recovery_points.fetch import manifest_of
from .._recovery_points.files import check_files, restore_files
from ..checks import OK, Check
from ..errors import ConfigurationError, RestoreError
from ..refusal import Refusal
from . import directories
from .guards import of_confirmation
from .options import parts_of
from .state import State


class Files:
    """One half of a whole restore."""

    def __init__(self, options: Dict[str, Any]) -> None:
        self.options = options
        self._new = Path()

    #: What has to be fetched for them.
    roles = ("application files", "application manifest", ROLE)

    def wanted(self, point: Dict[str, Any]) -> bool:
        """Whether files are asked for, and there are any."""
        asked = "files" in parts_of(self.options) and bool(self.options.get("data_directory"))
        return asked and int(point["application"]["files"]) > 0

    def refusals(self, job: Any, target: str, *, asked: bool) -> List[Refusal]:
        """What forbids replacing the directory.

        :param asked: whether the confirmation is asked for already, for the database
        """
        directory = self.options["data_directory"]
        try:
            check_files(self.options, job.point, job.s3, Path(self.options["scratch_directory"]))
            directories.check_place(directory)
        except (ConfigurationError, RestoreError) as error:
            return [Refusal("directory", error.message, error.remedy)]
        if asked or not os.path.isdir(directory):
            return []
        count = len(os.listdir(directory))
        what = f"The directory {directory} exists and is not empty: it would be replaced (and kept aside)."
        return of_confirmation(self.options, target, count, what)

    def planned(self, job: Any) -> List[str]:
        """What would be kept aside."""
        directory = self.options["data_directory"]
        return [f"directory {directories.aside(directory, job.run_id)}"] if os.path.isdir(directory) else []

    def unpack(self, job: Any, state: State) -> None:
        """Unpacks beside the old directory, and compares with the manifest.

        :raises RestoreError: it is not as in the manifest
        """
        directory, objects = self.options["data_directory"], job.folder / "objects"
        manifest = manifest_of(objects)
        if manifest is None:
            raise RestoreError(
                f"The recovery point {job.point['id']} has files and no manifest of them.", "Choose another."
            )
        job.progress.phase("files")
        self._new = directories.beside(directory, job.run_id)
        state.note(making=str(self._new))
        self._new.mkdir(mode=0o700)
        state.note(making_mark=mark(self._new))
        wrong = restore_files(
            self.options,
            job.point,
            objects,
            self._new,
            job.s3,
            job.folder / "restic",
            job.progress.tick,
            owners=True,
        )
        if wrong:
            more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise RestoreError(
                f"The application's files are not as in the manifest: {'; '.join(wrong[:3])}{more}.",
                "Nothing was put in place. Choose another recovery point.",
            )
        if os.path.isdir(directory):
            status = os.stat(directory)
            if os.geteuid() == 0:
                os.chown(self._new, status.st_uid, status.st_gid)
            os.chmod(self._new, status.st_mode & 0o7777)
        count = sum(entry["type"] == "file" for entry in manifest["entries"])
        text = f"{count} files, as in the manifest."
        job.checks.append(Check("restore.application_files", "Application's files", OK, count, message=text))

    def swap(self, job: Any, state: State) -> None:
        """Puts the new directory in place."""
        directory = self.options["data_directory"]
        aside = directories.aside(directory, job.run_id)
        kept = directories.exchange(state, "files", self._new, directory, aside)
        job.changed = True
        if kept:
            state.keep("directory", str(kept), job.point["id"], state.run["started_at"])
            job.kept.append({"kind": "directory", "name": str(kept)})

    def settle(self, job: Any, state: State, before: Dict[str, Any]) -> bool:
        """Brings the directories of a dead run to an end. Returns whether its files are in place."""
        moving = before.get("files")
        if moving:
            done = directories.settle(moving) == "in place"
            if done and os.path.isdir(moving["kept"]):
                state.keep("directory", moving["kept"], before["recovery_point"], before["started_at"])
                job.kept.append({"kind": "directory", "name": moving["kept"]})
            return done and moving["place"] == self.options.get("data_directory")
        directories.remove_made(before)
        return False

    def undo(self, state: State) -> None:
        """Removes what was unpacked beside."""
        directories.remove_made(state.run)
