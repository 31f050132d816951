# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a recovery point with pgBackRest: backup, restore point, counts and digests, WAL, and what binds them."""

from __future__ import annotations

import hashlib
import json
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .._files.application import Application, application_root, limit_of, verify_files
from .._files.application import plan as plan_files
from .._pgbackrest import info, wal
from .._postgres.measuring import Measuring, rows_of
from .._postgres.restore_point import snapshot_at
from .._recovery_points import objects
from .._recovery_points.ids import new_id
from .._recovery_points.store import NAME, SCHEMA_VERSION, prefix_of
from .._storage.upload import Uploader
from .._work.progress import Progress
from .._work.scratch import destination, free, locked
from ..checks import utc_now
from ..database import describe
from ..errors import BackupError, LockedError
from ..storage import client, patient, storage_errors
from . import identity
from .common import TOOL_VERSION, application_of, tidy
from .lock import lock_of
from .physical_tools import Tools, server_of
from .physical_verify import archiver, verify


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What create would do. Changes nothing.

    :raises MaintenanceError: something create needs is missing
    """
    tools = Tools(options)
    application_root(options)
    prefix = prefix_of(options["storage"], options["environment_name"])
    stanza = tools.stanza()
    server = server_of(options["database"], tools, stanza)
    s3 = client(options["storage"])
    with storage_errors(options["storage"], "looking for the bucket"):
        s3.list_objects_v2(Bucket=options["storage"]["bucket"], Prefix=prefix + "/", MaxKeys=1)
    identity.check(options, s3, prefix)
    newest = stanza.backups[-1] if stanza.backups else None
    return {
        "engine": "pgbackrest",
        "to": f"s3://{options['storage']['bucket']}/{tools.repository.path}/",
        "database": describe(options["database"]),
        "database_bytes": server["size"],
        "cluster_bytes": server["cluster"],
        "pgbackrest": tools.version,
        "stanza": tools.pgbackrest.stanza,
        "type": info.chosen_type(tools.options["type"], stanza, datetime.now(timezone.utc)),
        "newest_backup": newest.label if newest else None,
        **plan_files(options, s3),
        "scratch_directory": options["scratch_directory"],
        "scratch_free_bytes": free(options["scratch_directory"]),
        "verify": options["verify"],
        "lock_mode": options["lock_mode"],
    }


def create(options: Dict[str, Any], progress: Progress) -> Dict[str, Any]:
    """Makes and verifies a recovery point: see engine.create, which does so by dumping.

    :raises MaintenanceError: there is no recovery point
    """
    now = datetime.now(timezone.utc)
    run_id = new_id(now)
    progress.phase("prepare")
    tools = Tools(options)
    root = application_root(options)
    storage = options["storage"]
    prefix = prefix_of(storage, options["environment_name"])
    s3 = client(patient(storage), pool=16)
    place = destination(options["environment_name"], storage)
    with locked(options["scratch_directory"], place, run_id, progress.directory) as scratch:
        notes = tidy(s3, storage, prefix, scratch.stale, now)
        work = _Work(options, tools, root, f"{prefix}/{run_id}", run_id, now, s3, progress, scratch.path)
        try:
            point, digest = work.run()
        except OSError as error:
            raise BackupError(f"The backup stopped: {error}", "Read the message, then run it again.") from None
        notes.update(work.notes)
        result: Dict[str, Any] = {
            "recovery_point": point,
            "key": f"{prefix}/{run_id}/{NAME}",
            "sha256": digest,
            "notes": notes,
            "verification": None,
        }
        if options["verify"] != "none":
            result["verification"] = verify(
                s3,
                storage,
                point,
                tools,
                options["verify"],
                scratch,
                progress,
                lambda: verify_files(options, s3, point, options["verify"], scratch.path / "restic", progress.tick),
            )
        progress.phase("done")
        result["phases"] = {name: round(seconds, 3) for name, seconds in progress.phases.items()}
        return result


class _Work:
    """One recovery point being made."""

    def __init__(
        self,
        options: Dict[str, Any],
        tools: Tools,
        root: Optional[Path],
        prefix: str,
        run_id: str,
        now: datetime,
        s3: Any,
        progress: Progress,
        scratch: Path,
    ) -> None:
        self.options = options
        self.tools = tools
        self.scratch = scratch
        self.root = root
        self.prefix = prefix
        self.id = run_id
        self.now = now
        self.s3 = s3
        self.progress = progress
        self.required: List[info.Backup] = []
        self.notes: Dict[str, Any] = {}

    def run(self) -> Tuple[Dict[str, Any], str]:
        """The recovery point and its digest."""
        options, storage = self.options, self.options["storage"]
        before = self.tools.stanza()
        server = server_of(options["database"], self.tools, before)
        self.notes["identity"] = identity.check(options, self.s3, prefix_of(storage, options["environment_name"]))
        lock = lock_of(options, self.now)
        backup = self._backup(before, server)
        engine = self._engine(backup)
        with Uploader(
            self.s3,
            storage,
            threads=2,
            part_size=options["part_size"],
            bandwidth_limit=limit_of(options),
            lock=lock,
        ) as uploader:
            archive = Application(uploader, self.root, options, self.prefix, self.scratch)
            description, segment = self._measured(engine, archive, uploader)
            segments = wal.between(backup.wal_start, segment, server["segment"])
            found = self._archived(objects.archive(engine), segments)
            self.progress.phase("list")
            theirs = objects.of_backup(self.s3, storage, engine, backup.label, backup.stored)
            theirs += [objects.entry(found[name], objects.WAL) for name in segments]
            required: List[Dict[str, Any]] = []
            for each in self.required:
                required += objects.of_backup(self.s3, storage, engine, each.label, each.stored)
            self.notes.update(skipped_files=archive.skipped, changed_files=archive.changed)
            own = [*uploader.objects, *theirs]
            point = {
                "schema_version": SCHEMA_VERSION,
                "id": self.id,
                "environment": options["environment_name"],
                "created_at": self.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "finished_at": utc_now(),
                "tool_version": TOOL_VERSION,
                "engine": engine,
                "database": {**description, "system_identifier": backup.system_identifier},
                "application": {**application_of(options), **archive.summary()},
                "objects": sorted(own, key=lambda entry: str(entry["key"])),
                "required_objects": sorted(required, key=lambda entry: str(entry["key"])),
            }
            point["totals"] = {
                "objects": len(own),
                "bytes": sum(entry["size"] for entry in own),
                "rows": rows_of(point["database"]["tables"]),
            }
            body = json.dumps(point, ensure_ascii=True, indent=1).encode("ascii")
            self.progress.phase("seal")
            uploader.put(f"{self.prefix}/{NAME}", body, "recovery point")
        return point, hashlib.sha256(body).hexdigest()

    def _backup(self, before: info.Stanza, server: Dict[str, Any]) -> info.Backup:
        """Runs pgBackRest's backup."""
        chosen = info.chosen_type(self.tools.options["type"], before, datetime.now(timezone.utc))
        number = self.tools.repository.number
        with self.tools.pgbackrest.start(
            "backup", f"--repo={number}", f"--type={chosen}", nice=self.options["nice"]
        ) as running:
            total = server["cluster"] or server["size"]
            self.progress.phase(
                "backup", lambda: {"bytes_done": int(total * running.percent / 100), "bytes_total": total}
            )
            try:
                while not running.finished():
                    self.progress.tick()
                    time.sleep(0.05)
            except LockedError as error:
                raise LockedError(
                    f"Another backup by pgBackRest is under way: {error.message}", "Wait for it to end, then run again."
                ) from None
            said = running.said
        self.notes["warnings"] = [line.split("WARN: ", 1)[1].strip() for line in said.splitlines() if "WARN: " in line]
        after = self.tools.stanza()
        backup = made_now(said, before, after)
        if backup is None:
            raise BackupError(
                "pgBackRest says that it ended well, but the backup that it names is not there, or was there before.",
                "Read pgBackRest's log, and run it again.",
            )
        for needed in backup.requires:
            found = after.of(needed)
            if found is None:
                raise BackupError(
                    f"The backup {backup.label} needs {needed}, which the repository does not have.",
                    "Make a full backup now (backup_pgbackrest_type: full).",
                )
            self.required.append(found)
        return backup

    def _engine(self, backup: info.Backup) -> Dict[str, Any]:
        return {
            "name": "pgbackrest",
            "version": self.tools.version,
            "stanza": self.tools.pgbackrest.stanza,
            "repository": self.tools.repository.number,
            "repository_path": self.tools.repository.path,
            "label": backup.label,
            "type": backup.type,
            "requires": backup.requires,
            "wal_start": backup.wal_start,
            "wal_stop": backup.wal_stop,
            "timeline": int(backup.wal_start[:8], 16),
            "archive_id": backup.archive_id,
            "cipher": self.tools.repository.cipher,
            "cluster_bytes": backup.size,
            "page_checksums_wrong": backup.error,
        }

    def _measured(self, engine: Dict[str, Any], archive: Application, uploader: Uploader) -> Tuple[Dict[str, Any], str]:
        """Names the restore point, measures the tables as they are there, and takes the application's files."""
        options = self.options
        self.progress.phase("restore point")
        with snapshot_at(options["database"], f"tradingflow_{self.id}", self.progress.tick) as (
            snapshot,
            tables,
            named,
        ):
            engine.update(
                target_wal=named.segment,
                restore_point=named.name,
                restore_point_lsn=named.lsn,
                restore_point_at=named.at,
                exact=named.exact,
            )
            self.notes["restore_point_tries"] = named.tries
            description = snapshot.describe()
            sessions = max(1, options["jobs"] // 2)
            measuring = Measuring(snapshot, tables, digests=options["digests"] == "full", sessions=sessions)
            total = sum(table["bytes"] for table in tables) + archive.bytes_total
            self.progress.phase(
                "measure", lambda: {"bytes_done": measuring.bytes_done + archive.bytes_done, "bytes_total": total}
            )
            try:
                archive.start()
                while not (measuring.finished() and archive.finished() and uploader.settled()):
                    self.progress.tick()
                    time.sleep(0.02)
            except BaseException:
                archive.stop()
                measuring.cancel()
                raise
            return {**description, "tables": measuring.results()}, named.segment

    def _archived(self, folder: str, segments: List[str]) -> Dict[str, Dict[str, Any]]:
        storage = self.options["storage"]
        self.progress.phase("archive")
        return wal.wait(
            lambda: wal.objects(self.s3, storage, folder, segments),
            segments,
            seconds=self.tools.options["wait_for_wal"],
            tick=self.progress.tick,
            trouble=lambda: archiver(self.options["database"]),
        )


def made_now(said: str, before: info.Stanza, after: info.Stanza) -> Optional[info.Backup]:
    """The backup that was just made: the last that pgBackRest names, and one that was not there before.

    What it says holds the names of files too, which may look like anything.
    """
    labels = re.findall(r"new backup label = (\S+)", said)
    backup = after.of(labels[-1]) if labels else None
    return backup if backup and before.of(backup.label) is None else None
