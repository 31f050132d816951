# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a recovery point that holds the application's files."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..errors import BackupError, ConfigurationError
from . import files
from .upload import Uploader


def application_root(options: Dict[str, Any]) -> Optional[Path]:
    """The data directory; None when there is none to back up. Raises ConfigurationError when it does not exist."""
    if not options.get("data_directory"):
        return None
    root = Path(options["data_directory"])
    if not root.is_dir():
        raise ConfigurationError(
            f"The application's data directory {files.show(str(root))} does not exist on this host.",
            "Correct backup_data_directory, or leave it empty when there are no files to back up.",
        )
    files.need_zstandard()
    return root


class Application:
    """The files' archive, made by a thread of its own."""

    def __init__(self, uploader: Uploader, root: Optional[Path], excludes: List[str], prefix: str) -> None:
        self._uploader = uploader
        self._prefix = prefix
        self._stopped = threading.Event()
        self._error: Optional[BaseException] = None
        self._archive = files.Archive(root, excludes, self._pause) if root else None
        self.bytes_total = files.estimate(root, excludes)[1] if root else 0
        self._thread = threading.Thread(target=self._run, args=[self._archive], name="application", daemon=True)

    def _pause(self) -> None:
        if self._stopped.is_set():
            raise BackupError("The backup was stopped.")

    def start(self) -> None:
        if self._archive is not None:
            self._thread.start()

    def _run(self, archive: files.Archive) -> None:
        try:
            stream = self._uploader.stream(f"{self._prefix}/application/data.tar.zst", "application files")
            archive.write(stream)
            stream.close()
            manifest = self._uploader.stream(f"{self._prefix}/application/manifest.json", "application manifest")
            manifest.write(files.dump_manifest(archive.manifest()))
            manifest.close()
        except OSError as error:
            self._error = BackupError(
                f"The application's files cannot be read: {files.show(str(error))}",
                "Give the backup's user the right to read them, or exclude them (backup_data_excludes).",
            )
        except BaseException as error:
            self._error = error

    def finished(self) -> bool:
        """Whether it is done; raises what it failed with."""
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._stopped.set()
        self._uploader.stop.set()
        if self._thread.ident is not None:
            self._thread.join(30)

    @property
    def bytes_done(self) -> int:
        return self._archive.bytes_done if self._archive else 0

    @property
    def changed(self) -> List[str]:
        if self._archive is None:
            return []
        return [files.show(name) for name in [*self._archive.changed, *self._archive.walk.vanished]]

    @property
    def skipped(self) -> List[str]:
        return [files.show(name) for name in self._archive.skipped] if self._archive else []

    def summary(self) -> Dict[str, Any]:
        entries = self._archive.entries if self._archive else []
        return {"files": sum(entry["type"] == "file" for entry in entries), "bytes": self.bytes_done}
