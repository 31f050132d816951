# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a recovery point: plan, dump, files, upload, and last the object that binds them."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from .._files.application import Application, application_root, limit_of, verify_files
from .._files.application import plan as plan_files
from .._postgres import programs
from .._postgres.measuring import Measuring, rows_of
from .._postgres.snapshot import Snapshot
from .._postgres.snapshot import locked as locked_tables
from .._recovery_points.ids import new_id
from .._recovery_points.store import NAME, SCHEMA_VERSION, prefix_of
from .._recovery_points.verify import verify
from .._storage.squeeze import Squeezer
from .._storage.upload import Uploader
from .._work.progress import Progress
from .._work.scratch import Scratch, destination, free, locked
from ..checks import utc_now
from ..database import connected, describe
from ..errors import BackupError, ConfigurationError, MaintenanceError
from ..storage import client, patient, storage_errors
from . import identity, standby
from .common import TOOL_VERSION, application_of, tidy
from .dump import Dump, dump_globals, in_clear
from .lock import lock_of
from .search_paths import unfound


class Tools:
    """The client programs of a run, checked before any work starts.

    :param options: of the module
    """

    def __init__(self, options: Dict[str, Any]) -> None:
        directory = options.get("pg_bin_dir")
        self.pg_dump = programs.find("pg_dump", directory)
        self.pg_dumpall = programs.find("pg_dumpall", directory)
        self.pg_restore = programs.find("pg_restore", directory)
        self.major, self.minor = programs.version(self.pg_dump)
        self.compression, self.level, self.squeezes = programs.compression(
            self.pg_dump,
            self.major,
            options["compression"],
            options.get("compression_level"),
            free_bytes=free(options["scratch_directory"]),
        )

    def check_server(self, server_version: int) -> None:
        """Raises ConfigurationError when the client is older than the server."""
        if self.major < server_version // 10000:
            server = server_version // 10000
            raise ConfigurationError(
                f"pg_dump is of version {self.major}, the server of version {server}: it cannot dump it.",
                "Install the client of the server's version, or point backup_pg_bin_dir to it.",
            )


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What create would do: to, database, tables, estimated bytes, compression, files, free scratch. Changes nothing.

    :raises MaintenanceError: something create needs is missing
    """
    tools = Tools(options)
    application_root(options)
    prefix = prefix_of(options["storage"], options["environment_name"])
    with connected(options["database"], statement_timeout=0) as connection:
        tools.check_server(connection.server_version)
        snapshot = Snapshot(options["database"], connection)
        tables = snapshot.tables()
        size = int(snapshot.value("SELECT pg_database_size(current_database())"))
    s3 = client(options["storage"])
    with storage_errors(options["storage"], "looking for the bucket"):
        s3.list_objects_v2(Bucket=options["storage"]["bucket"], Prefix=prefix + "/", MaxKeys=1)
    identity.check(options, s3, prefix)
    lock_of(options, datetime.now(timezone.utc))
    return {
        "to": f"s3://{options['storage']['bucket']}/{prefix}/",
        "database": describe(options["database"]),
        "tables": len(tables),
        "table_bytes": sum(table["bytes"] for table in tables),
        "database_bytes": size,
        "compression": f"{tools.compression}:{tools.level}{' by ISA-L' if tools.squeezes else ''}",
        "pg_dump": f"{tools.major}.{tools.minor}",
        "jobs": options["jobs"],
        **plan_files(options, s3),
        "scratch_directory": options["scratch_directory"],
        "scratch_free_bytes": free(options["scratch_directory"]),
        "verify": options["verify"],
        "lock_mode": options["lock_mode"],
    }


def create(options: Dict[str, Any], progress: Progress) -> Dict[str, Any]:
    """Makes and verifies a recovery point.

    :returns: recovery_point (contract 4), its key and sha256, phases (s by name), notes, and verification as verify.py
        gives it, None for none
    :raises MaintenanceError: there is no recovery point; nothing is left behind but objects without one
    """
    now = datetime.now(timezone.utc)
    run_id = new_id(now)
    progress.phase("prepare")
    tools = Tools(options)
    root = application_root(options)
    prefix = prefix_of(options["storage"], options["environment_name"])
    storage = options["storage"]
    s3 = client(patient(storage), pool=16)
    place = destination(options["environment_name"], storage)
    with locked(options["scratch_directory"], place, run_id, progress.directory) as scratch:
        notes = tidy(s3, storage, prefix, scratch.stale, now)
        notes["identity"] = identity.check(options, s3, prefix)
        try:
            point, digest, notes_of_work = _work(
                options, tools, root, f"{prefix}/{run_id}", run_id, now, scratch, s3, progress
            )
        except OSError as error:
            raise BackupError(
                f"The backup stopped: {error}", "Free space in, or correct, backup_scratch_directory."
            ) from None
        notes.update(notes_of_work)
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
                mode=options["verify"],
                pg_restore=tools.pg_restore,
                scratch=scratch.path,
                progress=progress,
                files_of=lambda: verify_files(
                    options, s3, point, options["verify"], scratch.path / "restic", progress.tick
                ),
            )
        progress.phase("done")
        result["phases"] = {name: round(seconds, 3) for name, seconds in progress.phases.items()}
        return result


def _work(
    options: Dict[str, Any],
    tools: Tools,
    root: Optional[Path],
    prefix: str,
    run_id: str,
    now: datetime,
    scratch: Scratch,
    s3: Any,
    progress: Progress,
) -> Tuple[Dict[str, Any], str, Dict[str, Any]]:
    with locked_tables(options["database"], progress.tick) as snapshot:
        tools.check_server(snapshot.version)
        description = snapshot.describe()
        # A standby has no rows of unlogged tables, and pg_dump leaves them out there.
        tables = snapshot.tables(logged=description["in_recovery"])
        further: Dict[str, Any] = {**in_clear(snapshot), "standby": standby.state(snapshot)}
        further["unfound"] = unfound(snapshot)
        with (
            Uploader(
                s3,
                options["storage"],
                threads=max(2, options["jobs"]),
                part_size=options["part_size"],
                bandwidth_limit=limit_of(options),
                lock=lock_of(options, now),
            ) as uploader,
            Squeezer(options["jobs"], tools.level) as squeezer,
        ):
            # The smallest object first: wrong keys or a missing bucket end the run before any work is done.
            dump_globals(tools.pg_dumpall, options["database"], uploader, f"{prefix}/database/globals.sql")
            archive = Application(uploader, root, options, prefix, scratch.path)
            sessions = max(1, options["jobs"] // 2)
            measuring = Measuring(snapshot, tables, digests=options["digests"] == "full", sessions=sessions)
            dump = Dump(
                snapshot,
                uploader,
                f"{prefix}/database",
                scratch.path / "dump",
                program=tools.pg_dump,
                major=tools.major,
                compression=tools.compression,
                level=tools.level,
                jobs=options["jobs"],
                nice=options["nice"],
                scratch_limit=min(options["scratch_limit"], max(scratch.free() // 2, 1)),
                squeezer=squeezer if tools.squeezes else None,
            )
            total = sum(table["bytes"] for table in tables) + archive.bytes_total

            def state() -> Dict[str, Any]:
                return {
                    # What the database read for us says more about the end than what came out compressed.
                    "bytes_done": copied.get("bytes", 0) + archive.bytes_done,
                    "bytes_total": total,
                    "uploaded": uploader.bytes_done,
                }

            copied = {"bytes": 0}
            progress.phase("backup", state)
            with _Watcher(options["database"], copied):
                try:
                    archive.start()
                    dump.run(progress.tick, measuring)
                    while not (measuring.finished() and archive.finished() and uploader.settled()):
                        progress.tick()
                        time.sleep(0.02)
                except BaseException:
                    archive.stop()
                    measuring.cancel()
                    raise
            point: Dict[str, Any] = {
                "schema_version": SCHEMA_VERSION,
                "id": run_id,
                "environment": options["environment_name"],
                "created_at": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "finished_at": utc_now(),
                "tool_version": TOOL_VERSION,
                "engine": {
                    "name": "logical",
                    "format": "directory",
                    "compression": tools.compression,
                    "level": tools.level,
                    "compressor": "ISA-L" if tools.squeezes else "pg_dump",
                    "pg_dump": f"{tools.major}.{tools.minor}",
                },
                "database": {**description, "tables": measuring.results()},
                "application": {**application_of(options), **archive.summary()},
                "objects": sorted(uploader.objects, key=lambda entry: str(entry["key"])),
            }
            point["totals"] = {
                "objects": len(point["objects"]),
                "bytes": sum(entry["size"] for entry in point["objects"]),
                "rows": rows_of(point["database"]["tables"]),
            }
            body = json.dumps(point, ensure_ascii=True, indent=1).encode("ascii")
            progress.phase("seal")
            # Last, at once: until it is there, nothing of this counts as a backup.
            uploader.put(f"{prefix}/{NAME}", body, "recovery point")
    notes = {"skipped_files": archive.skipped, "changed_files": archive.changed, "scratch_peak_bytes": dump.peak}
    notes.update(further)
    return point, hashlib.sha256(body).hexdigest(), notes


class _Watcher:
    """Asks the server now and then how far its COPYs are: bytes, added up over tables."""

    def __init__(self, database: Dict[str, Any], copied: Dict[str, int]) -> None:
        self._database = database
        self._copied = copied
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="copied", daemon=True)

    def __enter__(self) -> _Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        seen: Dict[Tuple[int, int], int] = {}
        if self._stop.wait(1):
            return
        try:
            with connected(self._database, pinned=True) as connection, connection.cursor() as cursor:
                while not self._stop.wait(1):
                    cursor.execute(
                        "SELECT pid, relid::bigint, bytes_processed FROM pg_stat_progress_copy"
                        " WHERE command = 'COPY TO' AND datname = current_database()"
                    )
                    for pid, relation, done in cursor.fetchall():
                        seen[pid, relation] = max(int(done), seen.get((pid, relation), 0))
                    self._copied["bytes"] = sum(seen.values())
        except MaintenanceError:
            return  # only the display is poorer
