# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the application's files of a recovery point back, whichever way they are stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from .._files import repository
from .._files.files import Expected, need_zstandard
from .._files.restic import Restic
from .._files.unpack import unpack, unpack_tar
from ..errors import RestoreError
from .fetch import manifest_of


def check_files(options: Dict[str, Any], point: Dict[str, Any], s3: Any, scratch: Path) -> None:
    """Whether the files could be restored here, before anything is done. Changes nothing.

    :param options: storage, files_password
    :raises ConfigurationError: a program, a library or the password is missing
    :raises RestoreError: this version does not know how they are stored
    """
    if not point["application"]["files"]:
        return
    facts = _facts(point)
    if facts is None:
        need_zstandard()
    else:
        Restic(s3, options["storage"], facts[0], options.get("files_password"), scratch)


def space(point: Dict[str, Any]) -> int:
    """Bytes that the restored files need on the disk."""
    return int(point["application"].get("bytes") or 0)


def restore_files(
    options: Dict[str, Any],
    point: Dict[str, Any],
    objects: Path,
    target: Path,
    s3: Any,
    scratch: Path,
    tick: Callable[[], None],
    *,
    owners: bool = False,
) -> Optional[List[str]]:
    """Restores the files of a recovery point into a folder that is made, each compared with the manifest.

    :param options: storage, files_password
    :param objects: where the recovery point's objects were fetched to
    :param scratch: folder of ours for restic
    :param owners: modes, times and owners too, see unpack
    :returns: what differs, in words; nothing when all agrees; None when the recovery point has no files
    :raises MaintenanceError: they cannot be restored
    :raises OSError: the disk is full or does not take a name
    """
    manifest = manifest_of(objects)
    if manifest is None:
        target.mkdir(mode=0o700, exist_ok=True)
        return None
    facts = _facts(point)
    if facts is None:
        return unpack(objects / "application/data.tar.zst", manifest, target, tick, owners=owners)
    prefix, snapshot = facts
    damaged = repository.differences(s3, options["storage"], [point], proven_otherwise=True)

    def silence() -> None:
        # restic tries for a quarter of an hour to read what is not there. What it does not need may be missing.
        if damaged:
            raise RestoreError(
                f"The repository of the application's files is damaged: {'; '.join(damaged[:3])}.",
                "Restore older versions of its objects if the bucket keeps versions; see docs/backup.md.",
            )

    restic = Restic(s3, options["storage"], prefix, options.get("files_password"), scratch, tick=tick)
    with restic.dump(snapshot, silence) as running:
        wrong = unpack_tar(running, manifest, Expected(manifest, repository=True), target, tick, owners=owners)
        for _rest in running:
            pass
        return restic.judge(running, snapshot) + wrong


def _facts(point: Dict[str, Any]) -> Any:
    try:
        return repository.facts_of(point)
    except ValueError as error:
        raise RestoreError(f"{point['id']}: {error}.", "Install a newer version of the collection.") from None
