# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restores a backup by pgBackRest: the whole cluster, replayed to its restore point, and then to the end of the WAL."""

from __future__ import annotations

import re
import shlex
import time
from typing import Any, Callable, Dict, List, Optional, cast

from .._pgbackrest import configuration, info, program
from .._pgbackrest.messages import failure
from .._postgres.instance import FULL, account
from .._recovery_points import objects
from .._recovery_points.fetch import Download, ours
from .._work.progress import Progress
from .._work.scratch import free
from ..checks import CRITICAL, Check, unknown
from ..errors import ConfigurationError, LockedError, MaintenanceError, RestoreError, StorageError
from ..words import printable
from . import replay
from .apart import check_apart
from .base import Engine
from .restored import Restored, Target

_CIPHER = "Check the cipher_pass of restore_drill_pgbackrest_repositories: the repository is encrypted with another."
_DAMAGED = "Make another backup now; restore older versions of the objects if the bucket keeps versions."
#: Bytes below which a disk is full.
_FULL = 1 << 20
#: What pgBackRest says when the store, and not what is in it, is the trouble.
_STORE = re.compile(
    r"HTTP request failed|unable to connect|timeout|unable to find a host|TLS error|HostConnectError|certificate"
)


class Physical(Engine):
    """A backup of a cluster, and the WAL that follows it."""

    name = "pgbackrest"
    programs = ("postgres", "pg_controldata")
    newer = False
    server = Restored

    @property
    def _server(self) -> Restored:
        return cast(Restored, self.instance)

    @staticmethod
    def space(point: Dict[str, Any]) -> int:
        """Bytes that a drill needs on the disk at once: the cluster with WAL and sorts, and unpacked files."""
        cluster = int(int(point["engine"]["cluster_bytes"]) * 1.1) + (512 << 20)
        return cluster + int(point["application"].get("bytes") or 0)

    @classmethod
    def check(cls, options: Dict[str, Any], point: Dict[str, Any], s3: Any) -> None:
        """Whether pgBackRest and the repository's configuration are there.

        :raises ConfigurationError: they are not
        """
        super().check(options, point, s3)
        _path, version = program.find((options.get("pgbackrest") or {}).get("program"))
        program.check_server(version, int(point["database"]["server_version_num"]) // 10000)
        repository_of(options, point)
        check_apart(
            options["scratch_directory"], account(options.get("run_as")), str(point["database"]["system_identifier"])
        )

    def fetch(self, progress: Progress) -> None:
        """Compares all objects with the store's listing, and has pgBackRest restore the cluster.

        :raises RestoreError: something is not as recorded
        :raises StorageError: the store does not answer
        """
        engine, storage = self.point["engine"], self.options["storage"]
        progress.phase("fetch")
        wrong = objects.compare(self.s3, storage, self.point)
        if wrong:
            more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise self._damaged(f"{'; '.join(wrong[:3])}{more}")
        Download(self.s3, storage, {**self.point, "objects": ours(self.point)}, self.objects).run(4, progress.tick)
        self._configure()
        self._know(progress.tick)
        said = self._pgbackrest.checked("info", "--repo=1", f"--set={engine['label']}", "--output=json")
        spaces, links = info.outside(said, engine["label"])
        self._server.guarded = [*(space.location for space in spaces), *links]
        size = int(engine["cluster_bytes"])
        try:
            with self._pgbackrest.start(
                "restore",
                "--repo=1",
                f"--set={engine['label']}",
                # Recovery is ours; tablespaces must not go where the source has them, which may be this very host.
                "--type=none",
                f"--tablespace-map-all={self._server.tablespaces}",
                # Once more at once; by default a third time after 15 s, for each file.
                "--job-retry=1",
                cwd=str(self._server.folder),
            ) as running:
                progress.phase(
                    "fetch",
                    lambda: {"bytes_done": int(size * running.percent / 100), "bytes_total": size},
                )
                while not running.finished():
                    progress.tick()
                    time.sleep(0.05)
        except MaintenanceError as error:
            if "pgBackRest" not in error.message:
                raise
            # Which of its processes fails first, and with what words, is chance.
            full = free(self.options["scratch_directory"]) < _FULL
            raise self._expired(meaning(error, full=full)) from None
        self._server.take_over()
        identifier = self._server.control["Database system identifier"]
        if identifier != str(self.point["database"]["system_identifier"]):
            raise self._damaged(f"the backup is of another cluster, whose system identifier is {identifier}")

    def bring_up(self, progress: Progress) -> str:
        """Replays up to the restore point, where rows and digests were recorded.

        :returns: the database's name
        :raises RestoreError: with PostgreSQL's message
        """
        self._replaying(progress, len({each["key"] for each in self.point["objects"] if each["role"] == "wal"}))
        try:
            self._server.replay_to(self._target, self._candidates(), progress.tick)
        except RestoreError as error:
            raise self._replay_failed(error) from None
        return str(self.point["database"]["name"])

    def reader(self, name: str) -> Optional[Dict[str, Any]]:
        """See Engine.reader; while it replays, a role of the source's."""
        return self._server.reader(name, max(1, self.options["jobs"]) + 1)

    def finish(self, progress: Progress) -> List[Check]:
        """Replays all that the repository has, and promotes: how far that came.

        :raises RestoreError: with PostgreSQL's message
        """
        size = int(self._server.control["Bytes per WAL segment"])
        # Looked for before: what is archived meanwhile need not be replayed.
        newest = replay.newest_segment(self.s3, self.options["storage"], objects.archive(self.point["engine"]))
        self._replaying(progress, replay.distance(self.point["engine"]["target_wal"], newest, size))
        try:
            self._server.replay_on(self._target, progress.tick)
            progress.phase("promote")
            self._server.open(progress.tick)
        except RestoreError as error:
            raise self._replay_failed(error) from None
        home = self._server.database(self._server.home)
        found = replay.judged(replay.end_of(home), newest, size, self._trouble())
        # Also when all came back: a recovery point that is gone is not a good one.
        gone = self._expired(RestoreError(found.message, found.remedy))
        if isinstance(gone, ConfigurationError):
            found = unknown(found.id, found.title, gone.message, gone.remedy)
        return [found, *replay.opened(home, str(self.point["database"]["name"])), *self._pages()]

    def _pages(self) -> List[Check]:
        """Pages that were wrong when the backup was made; that none was says nothing where pages have no checksums."""
        if not self.point["engine"]["page_checksums_wrong"]:
            return []
        text = "Pages of the cluster had wrong checksums when the backup was made: it has them as they were."
        remedy = "Look into pgBackRest's log which, check the database's disk, and drill the last backup before it."
        return [Check("drill.page_checksums", "Pages of the cluster", CRITICAL, False, message=text, remedy=remedy)]

    def _configure(self) -> None:
        """pgBackRest's own configuration, for the server's user only."""
        server, chosen = self._server, self.options.get("pgbackrest") or {}
        folder = server.private("pgbackrest")
        user = program.account(server.user_name)
        repository = repository_of(self.options, self.point)
        if repository.get("ca_file"):
            # Ours may be for us only.
            certificate = configuration.read(repository["ca_file"])
            if certificate is None:
                raise ConfigurationError(
                    f"There is no {repository['ca_file']}.", "Correct ca_file in restore_drill_pgbackrest_repositories."
                )
            configuration.write(folder / "ca.crt", certificate, user)
            repository = {**repository, "ca_file": str(folder / "ca.crt")}
        sections = configuration.render(
            {
                "stanza": self.point["engine"]["stanza"],
                "repositories": [repository],
                "compression": "none",
                "process_max": chosen.get("process_max") or 2,
                "archive_async": False,
                "wait_for_wal": 60,
                "spool_path": str(folder),
                "log_path": str(folder),
                "lock_path": str(folder),
                "data_directory": str(server.data),
                "port": 5432,
            }
        )
        sections["global"]["log-level-file"] = "off"
        path = folder / "pgbackrest.conf"
        configuration.write(path, configuration.text(sections), user)
        self._pgbackrest = program.PgBackRest(
            {
                "program": chosen.get("program"),
                "config_file": str(path),
                "run_as": user.name,
                "stanza": self.point["engine"]["stanza"],
            }
        )
        command = [shlex.quote(part) for part in self._pgbackrest.arguments("archive-get", "--repo=1")]
        self._target = Target(
            self.point["engine"]["restore_point"],
            self.point["engine"]["restore_point_lsn"],
            " ".join(command).replace("%", "%%") + ' %f "%p"',
            str(self.point["database"]["name"]),
        )

    def _know(self, tick: Callable[[], None]) -> None:
        """Whether the repository can be read, and knows the backup: restore says less of why not.

        :raises RestoreError: it does not
        """
        label = self.point["engine"]["label"]
        # Where the store does not answer it takes minutes.
        done = self._pgbackrest.followed("info", "--repo=1", "--output=json", tick=tick)
        if done.code:
            raise meaning(failure("info", done.code, done.err or done.out))
        stanza = info.parse(done.out, self._pgbackrest.stanza, 1)
        if stanza.problem:
            # Of a wrong key it shows what it deciphered.
            said = printable(stanza.problem.split(":\n")[0], 300)
            message = f"pgBackRest cannot read the repository: {said}"
            if _STORE.search(stanza.problem):
                raise StorageError(message, "Check that the store runs, and restore_drill_pgbackrest_repositories.")
            raise RestoreError(message, f"{_CIPHER} If it is not, the repository is damaged: back up anew.")
        if stanza.of(label) is None:
            raise self._damaged(f"the repository does not know the backup {label} any more")

    def _candidates(self) -> List[str]:
        """Roles that the source is likely to have, the likeliest first."""
        options = self.options
        names = [options.get("superuser"), "postgres", self._server.user_name]
        names += [(options.get(part) or {}).get("user") for part in ("database", "application")]
        return list(dict.fromkeys(name for name in names if name))

    def _replaying(self, progress: Progress, segments: int) -> None:
        """Begins the phase, of which the number of segments is known."""
        server, total = self._server, segments * int(self._server.control["Bytes per WAL segment"])
        begun: List[int] = []

        def done() -> Dict[str, Any]:
            if server.replayed and not begun:
                begun.append(server.replayed)
            return {"bytes_done": min(total, server.replayed - begun[0]) if begun else 0, "bytes_total": total}

        progress.phase("replay", done)

    def _trouble(self) -> Optional[MaintenanceError]:
        """What pgBackRest said when it could not fetch a segment, nothing when it could or there was none."""
        log = self._server.log()
        return meaning(failure("archive-get", 1, log)) if "ERROR: [" in log else None

    def _replay_failed(self, error: RestoreError) -> MaintenanceError:
        trouble = self._trouble()
        if trouble is None:
            found = self._expired(error)
            if found is not error:
                return found
            if "is not a child of this server's history" in error.message:
                error.remedy = "The database was put back to before this recovery point: make another backup now."
            return error
        return self._expired(type(trouble)(f"{error.message} {trouble.message}", trouble.remedy))

    def _expired(self, error: MaintenanceError) -> MaintenanceError:
        return info.expired(self._pgbackrest, 1, self.point["engine"]["label"], error)

    def _damaged(self, text: str) -> RestoreError:
        return RestoreError(f"The recovery point {self.point['id']} is damaged: {text}.", _DAMAGED)


def repository_of(options: Dict[str, Any], point: Dict[str, Any]) -> Dict[str, Any]:
    """The repository that a recovery point names: see configuration.REPOSITORY_SPEC.

    :raises ConfigurationError: it is not configured
    """
    engine, storage = point["engine"], options["storage"]
    known = (options.get("pgbackrest") or {}).get("repositories") or []
    path = engine["repository_path"].strip("/")
    for each in known:
        if each["path"].strip("/") == path and each["bucket"] == storage["bucket"]:
            chosen: Dict[str, Any] = each
            return chosen
    if known or engine["cipher"] != "none":
        raise ConfigurationError(
            f"The recovery point {point['id']} is in the repository {path} of the bucket {storage['bucket']},"
            " which is not configured here.",
            "Set restore_drill_pgbackrest_repositories as the backup's (bucket, path, cipher_pass).",
        )
    names = ("bucket", "endpoint", "region", "access_key", "secret_key", "session_token", "ca_file", "addressing_style")
    return {**{name: storage.get(name) for name in names}, "path": path, "encryption": "none", "bundle": True}


def meaning(error: MaintenanceError, *, full: bool = False) -> MaintenanceError:
    """What a failure of pgBackRest says of the recovery point: nothing when store or disk was the trouble.

    :param full: whether the disk is known to be full
    """
    text = printable(error.message, 700)
    if full or any(words in text for words in FULL):
        said = text if any(words in text for words in FULL) else f"The disk is full. {text}"
        return ConfigurationError(said, "Free space in restore_drill_scratch_directory, or choose another.")
    if isinstance(error, (ConfigurationError, LockedError)):
        return error
    if _STORE.search(text) or (isinstance(error, StorageError) and "[055]" not in text):
        return StorageError(text, "Check that the store runs, and restore_drill_pgbackrest_repositories.")
    return RestoreError(text, f"{_CIPHER} If it is not, the backup is damaged. {_DAMAGED}")
