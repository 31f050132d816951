# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a recovery point that holds the application's files: one archive each time, or a repository."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from .._storage.upload import Uploader
from ..errors import BackupError, ConfigurationError
from . import files, repository
from .restic import Restic, need
from .stored import Stored, verify_snapshot

ARCHIVE = "archive"


def application_root(options: Dict[str, Any]) -> Optional[Path]:
    """The data directory; None when there is none to back up.

    :raises ConfigurationError: it does not exist, or what its backup needs is missing
    """
    if not options.get("data_directory"):
        return None
    root = Path(options["data_directory"])
    if not root.is_dir():
        raise ConfigurationError(
            f"The application's data directory {files.show(str(root))} does not exist on this host.",
            "Correct backup_data_directory, or leave it empty when there are no files to back up.",
        )
    if options["files_engine"] == ARCHIVE:
        files.need_zstandard()
    elif options["lock_mode"] != "none":
        raise ConfigurationError(
            f"backup_lock_mode is {options['lock_mode']}, and restic cannot lock what it stores: the files would be"
            " without the lock that the rest has.",
            "Set backup_files_engine to archive, or backup_lock_mode to none and keep versions in the bucket"
            " (docs/backup.md).",
        )
    else:
        need(options.get("files_password"))
    return root


def plan(options: Dict[str, Any], s3: Any) -> Dict[str, Any]:
    """files (number), file_bytes, files_engine, and files_repository with its state. Changes nothing.

    :raises MaintenanceError: something is missing, or the password does not open the repository
    """
    root = application_root(options)
    count, size = files.estimate(root, options["data_excludes"]) if root else (0, 0)
    result: Dict[str, Any] = {"files": count, "file_bytes": size, "files_engine": options["files_engine"]}
    if root and options["files_engine"] != ARCHIVE:
        with tempfile.TemporaryDirectory(dir=options["scratch_directory"]) as folder:
            restic = restic_of(options, s3, Path(folder))
            made = repository.exists(s3, options["storage"], restic.prefix)
            snapshots = len(restic.snapshots()) if made else 0
            result.update(files_repository=restic.prefix, restic=restic.version, snapshots=snapshots if made else None)
    return result


def restic_of(options: Dict[str, Any], s3: Any, scratch: Path, tick: Any = lambda: None) -> Restic:
    """restic on the repository of a backup's options.

    :raises ConfigurationError: restic or the password is missing
    """
    return Restic(
        s3,
        options["storage"],
        repository.prefix_of(options["storage"], options["environment_name"], options.get("files_repository")),
        options.get("files_password"),
        scratch,
        tick=tick,
        nice=options["nice"],
        bandwidth_limit=limit_of(options),
    )


def limit_of(options: Dict[str, Any]) -> int:
    """Bytes per second for the dump, and likewise for restic beside it; 0 for no limit."""
    shared = options["files_engine"] != ARCHIVE and options.get("data_directory")
    limit: int = options["bandwidth_limit"]
    return max(1, limit // 2) if limit and shared else limit


def _anything(root: Path, excludes: List[str]) -> bool:
    return any(path != "." for path, _status in files.Walk(root, excludes))


class Archived:
    """The files as one archive, packed straight into the store."""

    facts: Dict[str, Any] = {"engine": ARCHIVE}

    def __init__(self, root: Path, options: Dict[str, Any], pause: Any) -> None:
        self.tree = files.Archive(root, options["data_excludes"], pause)

    @property
    def bytes_done(self) -> int:
        """Bytes of the files that are through."""
        return self.tree.bytes_done

    def run(self, uploader: Uploader, prefix: str) -> None:
        """Packs and uploads them."""
        stream = uploader.stream(f"{prefix}/application/data.tar.zst", "application files")
        self.tree.write(stream)
        stream.close()


class Application:
    """The files' backup, made by a thread of its own.

    :param prefix: of the recovery point's keys
    :param scratch: folder of ours
    """

    def __init__(
        self, uploader: Uploader, root: Optional[Path], options: Dict[str, Any], prefix: str, scratch: Path
    ) -> None:
        self._uploader = uploader
        self._prefix = prefix
        self._stopped = threading.Event()
        self._error: Optional[BaseException] = None
        self._part: Optional[Union[Archived, Stored]] = None
        # restic takes a folder without anything in it for a mistake.
        if root and (options["files_engine"] == ARCHIVE or not _anything(root, options["data_excludes"])):
            self._part = Archived(root, options, self._pause)
        elif root:
            restic = restic_of(options, uploader.s3, scratch / "restic", self._pause)
            run_id = prefix.rsplit("/", 1)[-1]
            self._part = Stored(root, options, restic, run_id, scratch, self._pause)
        self.bytes_total = files.estimate(root, options["data_excludes"])[1] if root else 0
        self._thread = threading.Thread(target=self._run, args=[self._part], name="application", daemon=True)

    def _pause(self) -> None:
        if self._stopped.is_set():
            raise BackupError("The backup was stopped.")

    def start(self) -> None:
        if self._part is not None:
            self._thread.start()

    def _run(self, part: Union[Archived, Stored]) -> None:
        try:
            part.run(self._uploader, self._prefix)
            manifest = self._uploader.stream(f"{self._prefix}/application/manifest.json", "application manifest")
            manifest.write(files.dump_manifest(part.tree.manifest()))
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
        return self._part.bytes_done if self._part else 0

    @property
    def changed(self) -> List[str]:
        if self._part is None:
            return []
        return [files.show(name) for name in [*self._part.tree.changed, *self._part.tree.walk.vanished]]

    @property
    def skipped(self) -> List[str]:
        return [files.show(name) for name in self._part.tree.skipped] if self._part else []

    def summary(self) -> Dict[str, Any]:
        entries = self._part.tree.entries if self._part else []
        facts = self._part.facts if self._part else {}
        size = self._part.tree.bytes_done if self._part else 0
        return {"files": sum(entry["type"] == "file" for entry in entries), "bytes": size, **facts}


def verify_files(
    options: Dict[str, Any], s3: Any, point: Dict[str, Any], mode: str, scratch: Path, tick: Any
) -> List[str]:
    """What is wrong with files that are in a repository; of an archive its own object tells.

    :param options: storage, files_password
    :param mode: full or checksum
    :returns: in words; nothing when all agrees
    :raises MaintenanceError: nothing is known of them
    """
    facts = repository.facts_of(point)
    if facts is None:
        return []
    password = options.get("files_password")
    return verify_snapshot(Restic(s3, options["storage"], facts[0], password, scratch, tick=tick), point, mode)
