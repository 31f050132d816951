# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application's files in a restic repository: how they get there, and whether they are what they were."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Tuple

from .._storage.read import fetch
from .._storage.upload import Uploader
from ..errors import BackupError
from ..storage import storage_errors
from . import files, repository
from .restic import Restic
from .restic_process import SILENCE, error_of
from .tree import Tree

#: Said by restic when some files could not be read and the others were stored.
_INCOMPLETE = 3
MANIFEST = "application manifest"


class Stored:
    """The files' part in one recovery point, stored by restic: only what is new is uploaded.

    :param tree: the files as we read them
    :param facts: what the recovery point says of it
    """

    def __init__(
        self, root: Path, options: Dict[str, Any], restic: Restic, run_id: str, scratch: Path, pause: Any
    ) -> None:
        self.tree = Tree(root, options["data_excludes"], pause)
        self.facts: Dict[str, Any] = {}
        self._host = str(options["environment_name"])
        self._restic = restic
        self._run_id = run_id
        self._scratch = scratch
        self._through = 0

    @property
    def bytes_done(self) -> int:
        """Bytes of the files that are through: each is read twice, by us and by restic."""
        return (self.tree.bytes_done + self._through) // 2

    def run(self, uploader: Uploader, prefix: str) -> None:
        """Reads them for the manifest, has them stored, and lists the repository.

        :raises MaintenanceError: they are not in the store as they should be
        """
        restic = self._restic
        repository.ensure(restic, self._scratch)
        repository.unlock(restic)
        self.tree.read()
        added, name = self._store()
        self._through = self.tree.bytes_done
        self.tree.look_again()
        snapshot = snapshot_of(restic, self._run_id, name)
        there = repository.contents(restic.s3, restic.storage, restic.prefix)
        if f"snapshots/{snapshot['id']}" not in there:
            raise BackupError(f"The store does not list restic's snapshot {snapshot['id']}.", "Back up again.")
        self.facts = {
            "engine": repository.ENGINE,
            "engine_version": restic.version,
            "repository": restic.prefix,
            "snapshot": snapshot["id"],
            "tree": snapshot["tree"],
            "added_bytes": added,
        }
        stream = uploader.stream(f"{prefix}/application/repository.json", repository.ROLE)
        stream.write(repository.dump_contents(restic.prefix, there))
        stream.close()

    def _store(self, *again: str) -> Tuple[int, str]:
        """Bytes that were added to the repository, and how the snapshot's id begins.

        :param again: options of a second attempt
        """
        arguments = ["backup", ".", "--json", "--host", self._host, "--tag", self._run_id, *self._excludes(), *again]
        summary: Dict[str, Any] = {}
        seen, at = None, time.monotonic()
        with self._restic.running(*arguments, cwd=self.tree.walk.root) as running:
            for line in running.lines():
                try:
                    message = json.loads(line)
                except ValueError:
                    continue
                if not isinstance(message, dict):
                    continue
                if message.get("message_type") == "summary":
                    summary = message
                self._through = int(message.get("bytes_done") or self._through)
                state = [message.get(name) for name in ("files_done", "bytes_done", "total_bytes")]
                if state != seen:
                    seen, at = state, time.monotonic()
                elif time.monotonic() - at > SILENCE:
                    # It goes on saying how far it is while it waits for a store that is gone.
                    self._restic.ask()
                    at = time.monotonic()
            code = running.check(self._restic.failed, (0, _INCOMPLETE))
            errors = [error for line in running.messages() if (error := error_of(line))]
        bad = [error for error in errors if not error["gone"]]
        if bad and not again:
            # What the repository has lost of earlier snapshots is such an error too: without them all is read anew.
            return self._store("--force")
        if bad or (code == _INCOMPLETE and not errors):
            first = f"{bad[0]['item']}: {bad[0]['text']}" if bad else "restic does not say which"
            raise BackupError(
                f"{len(bad) or 'Some'} of the application's files could not be read: {first[:500]}",
                "Give the backup's user the right to read them, or exclude them (backup_data_excludes).",
            )
        if not {"data_added", "snapshot_id"} <= set(summary):
            raise BackupError("restic did not say what it stored.", "Update restic.")
        return int(summary["data_added"]), str(summary["snapshot_id"])

    def _excludes(self) -> List[str]:
        """What our walk left out, as patterns of restic that match nothing else."""
        root, lines, arguments = str(self.tree.walk.root), [], []
        for path in [*self.tree.walk.excluded, *self.tree.skipped]:
            pattern = re.sub(r"([\\*?\[\]])", r"\\\1", f"{root.rstrip('/')}/{path}")
            if pattern != pattern.strip() or "\n" in pattern or "\r" in pattern:
                # A file of patterns is read by lines, without blanks at their ends.
                arguments += ["--exclude", pattern]
            else:
                lines.append(pattern.replace("$", "$$"))
        if lines:
            file = self._scratch / "excludes"
            file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
            arguments += ["--exclude-file", str(file)]
        return arguments


def snapshot_of(restic: Restic, run_id: str, name: str) -> Dict[str, Any]:
    """The snapshot of a recovery point.

    :param name: how its id begins
    :raises BackupError: there is none, or more than one
    """
    found = [each for each in restic.snapshots() if run_id in (each.get("tags") or []) and each["id"].startswith(name)]
    if len(found) != 1:
        raise BackupError(
            f"restic has {len(found)} snapshots of {run_id} instead of one.", "Back up again; look at the repository."
        )
    return found[0]


def made_at(run_id: str) -> datetime:
    """When a run began, by its id."""
    return datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)


def facts_and_manifest(restic: Restic, point: Dict[str, Any]) -> Tuple[str, Dict[str, Any]]:
    """Snapshot and manifest of a recovery point.

    :raises KeyError, ValueError: they are not there, or none
    """
    facts = repository.facts_of(point)
    entry = next((each for each in point["objects"] if each["role"] == MANIFEST), None)
    if facts is None or entry is None:
        raise ValueError("the recovery point has no manifest of its files")
    with storage_errors(restic.storage, f"reading {entry['key']}"):
        body = fetch(restic.s3, restic.storage, entry["key"])
        if body is None:
            raise ValueError(f"{entry['key']} is missing")
        return facts[1], json.loads(body.read())


def verify_snapshot(restic: Restic, point: Dict[str, Any], mode: str) -> List[str]:
    """What is wrong with the files of a recovery point, as they lie in the store.

    :param mode: checksum looks whether the repository is sound and the snapshot in it; full also reads every file back
        and compares it with the manifest
    :raises MaintenanceError: nothing is known of them
    """
    wrong = repository.differences(restic.s3, restic.storage, [point], proven_otherwise=True)
    # What is missing restic would try to read for a quarter of an hour.
    wrong = wrong or restic.check()
    if wrong:
        return wrong
    if mode != "full":
        return []
    try:
        snapshot, manifest = facts_and_manifest(restic, point)
        expected = files.Expected(manifest, repository=True)
    except (ValueError, KeyError, TypeError) as error:
        return [f"the manifest of the application's files cannot be read: {error}"]
    with restic.dump(snapshot) as running:
        wrong = files.compare_tar(running, expected)
        # What restic says of it comes before what is missing for it.
        return restic.judge(running, snapshot) + wrong
