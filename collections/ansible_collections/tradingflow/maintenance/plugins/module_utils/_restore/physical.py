# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole cluster to a point in time, by pgBackRest: restored and replayed beside the old one, proven, then swapped."""

from __future__ import annotations

import os
import shlex
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional

from .._isolation.processes import end_inside, mark, same
from .._pgbackrest import info
from .._pgbackrest.program import PgBackRest, own_spool
from .._postgres import server, tablespaces
from .._postgres.cluster import Cluster, check_version
from .._postgres.replay import Replay, apart_of, remove_home
from .._recovery_points.fetch import Download
from ..checks import OK, Check, as_dicts
from ..errors import ConfigurationError, DatabaseError, MaintenanceError, RestoreError
from ..refusal import Refusal
from . import delta, directories, guards, leftovers, loss, outside, reach
from .dropped import check_there
from .files import Files
from .host import of_host
from .options import parts_of
from .prove import Proof
from .source import Source, check_now, look, will_return
from .start import begin
from .state import State
from .target import target_of
from .timeline import windows
from .timelines import Timelines


class PointInTime:
    """The mode point_in_time."""

    engine = "pgbackrest"

    def __init__(self, options: Dict[str, Any]) -> None:
        self.options = options
        self.wanted = target_of(options)
        self.setting = options.get("cluster") or {}
        self.theirs = options.get("pgbackrest") or {}
        if not self.setting or not self.theirs:
            raise ConfigurationError(
                "No cluster is named.", "Set restore_cluster (data_directory) and restore_pgbackrest (stanza)."
            )
        self.target = f"the cluster in {self.setting['data_directory']}"
        self.reached: Optional[str] = None
        self.backrest = PgBackRest(self.theirs)
        self.repository = int(self.theirs["repository"])
        said = self.backrest.checked("info", "--output=json", f"--repo={self.repository}")
        self.stanza = info.parse(said, self.theirs["stanza"], self.repository)
        self.files = Files(options)
        self.done = self.files_done = False
        self.half: Optional[Path] = None
        self.live: Optional[Dict[str, Any]] = None
        self.source: Optional[Source] = None
        self.silence = ""
        self.sessions: List[str] = []
        self.newest: Optional[datetime] = None
        self.timelines = Timelines(options, self.backrest, self.wanted)
        #: What an unfinished run with the same wishes had put in place: all that it chose stays chosen.
        self.pinned: Dict[str, Any] = {}

    def remember(self, run: Dict[str, Any]) -> None:
        """Knows of the run that did not end."""
        wanted = run.get("wanted") or {}
        if run.get("cluster") and "timeline" in wanted and wanted.get("asked") == self._asked():
            self.pinned = wanted
            self.timelines.pinned = int(wanted["timeline"])

    def fits(self, point: Dict[str, Any]) -> bool:
        """Whether the target can be reached from a recovery point."""
        backup = self.stanza.of(point["engine"]["label"])
        if backup is None or not self.wanted.fits(backup, point):
            return False
        if self.pinned:
            return bool(backup.label == self.pinned["label"])
        return self.timelines.reach(backup, self.timelines.of(backup, point))

    def objects(self, job: Any) -> List[Dict[str, Any]]:
        """What we fetch ourselves; the cluster is pgBackRest's."""
        roles = self.files.roles if self.files.wanted(job.point) else ()
        return [entry for entry in job.point["objects"] if entry["role"] in roles]

    def prepare(self, job: Any) -> None:
        """Looks at the cluster, running or not, and at the repository.

        :raises MaintenanceError: programs are missing, or the backup is gone
        """
        found = self.stanza.of(job.point["engine"]["label"])
        if found is None:
            raise RestoreError(
                f"The repository has no backup {job.point['engine']['label']} of the recovery point {job.point['id']}.",
                "Choose another recovery point.",
            )
        self.backup = found
        if not self.wanted.fits(found, job.point):
            raise ConfigurationError(
                f"{self.wanted.words} lies before the end of the backup {found.label}.",
                "Leave restore_recovery_point at newest: the right one is found by the target.",
            )
        self.choice = self.timelines.of(found, job.point)
        if not self.timelines.reach(found, self.choice):
            raise ConfigurationError(
                f"The backup {found.label} was made on timeline {int(found.wal_stop[:8], 16)}, from which timeline"
                f" {self.choice.number} cannot be reached: it left before that backup ended.",
                "Leave restore_recovery_point at newest, or name the backup's own timeline (restore_target_timeline).",
            )
        major = int(job.point["database"]["server_version_num"]) // 10000
        check_version(self.setting, job.point, major)
        self.cluster = Cluster(self.setting, self.options.get("pg_bin_dir"), self.backrest.user, major)
        self.apart = apart_of(self, job, major)
        self._look()
        check_now(self.wanted, self.source)
        back_to = self.wanted.at or loss.recorded_at(job.point)
        until = self.newest or datetime.now(timezone.utc)
        job.loss = {"seconds": None, "until": loss.iso(until)}
        if self.wanted.type != "latest":
            measured = "the target" if self.wanted.at else "the recovery point"
            job.loss = loss.between(self.newest, back_to, measured)

    def _look(self) -> None:
        self.live, self.source, self.sessions, self.newest, self.silence = None, None, [], None, ""
        try:
            with server.elsewhere({**self.options["database"], "connect_timeout": 5}) as connection:
                self.source = look(connection)
                self.live = self.source.facts
                names = server.rows(connection, "SELECT datname FROM pg_database WHERE datallowconn")
                self.sessions = [who for row in names for who in server.sessions(connection, row[0])]
        except DatabaseError as error:
            self.silence = error.message
            return  # it is dead: that is why somebody restores it
        self.newest = loss.newest_sign(self.options, self.options["database"]["name"])

    def _reach(self, job: Any) -> reach.Reach:
        own = self.wanted.type == "name" and self.wanted.value == job.point["engine"].get("restore_point")
        known = self.wanted, self.choice, self.backup, self.source, self.silence
        return reach.of(*known, own=own, elsewhere=bool(self.setting["elsewhere"]))

    def settle(self, job: Any, state: State) -> None:
        """What a dead run left."""
        before = dict(state.run)
        if not before:
            return
        state.check_kind("database")
        left = leftovers.before_recovery(self.options, job, state, alive=self.live is not None)
        remove_home(before)
        if not before.get("cluster"):
            tablespaces.remove(before.get("made_spaces"))
        self.half = self._half_made(before)
        # What is gone on with is not removed.
        rest = {**before, "making_cluster": None} if self.half else before
        self.files_done = self.files.settle(job, state, rest) and before.get("wanted") == self._wanted(job)
        if before.get("cluster"):
            moving = before["cluster"]
            # Whatever of the new one runs where it is not in place yet.
            if directories.is_new(moving["new"], moving):
                end_inside(Path(moving["new"]))
            done = directories.settle(moving) == "in place"
            if done and os.path.isdir(moving["kept"]):
                self._keep(job, state, moving["kept"], before)
            self.done = done and before.get("wanted") == self._wanted(job)
        text = f"The restore {before.get('id')} of {before.get('started_at')} did not end.{left}"
        if self.done:
            text += " Its cluster had been put in place: this run resumes after that."
        elif self.half:
            text += " This run begins with what that one had fetched."
        else:
            text += " This run starts over."
        job.found.append(text)
        state.begin(**(before if self.done or self.files_done or self.half else {}))
        self._look()

    def _half_made(self, before: Dict[str, Any]) -> Optional[Path]:
        """What a dead run had fetched for this place, of whatever backup: each file's checksum is compared."""
        made = before.get("making_cluster")
        if before.get("cluster") or not made or Path(made).parent != Path(self.cluster.directory).parent:
            return None
        path = Path(made)
        if not same(made, before.get("making_cluster_mark")):
            return None
        end_inside(path)
        return path if delta.usable(path) else None

    def _keep(self, job: Any, state: State, name: str, run: Dict[str, Any]) -> None:
        state.keep("directory", name, run["recovery_point"], run["started_at"])
        job.kept.append({"kind": "directory", "name": name, "tablespaces": outside.named(state.kept, name)})

    def _wanted(self, job: Any) -> Dict[str, Any]:
        return {
            "type": self.wanted.type,
            "value": self.wanted.words,
            "label": self.backup.label,
            "timeline": self.choice.number,
            "directory": self.cluster.directory,
            "asked": self._asked(),
        }

    def _asked(self) -> List[Any]:
        """What somebody who runs it again says again."""
        names = ("target_type", "target_timeline", "recovery_point")
        return [*(self.options[name] for name in names), self.wanted.words, self.setting["data_directory"].rstrip("/")]

    def refusals(self, job: Any, planning: bool) -> List[Refusal]:
        """What forbids it."""
        found = guards.of_environment(self.options, job.point)
        if not self.done:
            found += of_host(self.options, job.point, self.cluster, self.live)
            found += [*self.apart.refusals(self.backrest.user), *self.apart.spaces.refusals()]
            self.reach = self._reach(job)
            found += self.reach.refusals()
            if self.cluster.there:
                what = f"The directory {self.cluster.directory} is not empty: it would be replaced (and kept aside)."
                name = self.options["database"]["name"]
                found += guards.of_confirmation(self.options, name, 1, what)
        if not self.setting["elsewhere"]:
            found += guards.of_application(self.options, self.sessions, self.target)
        parts = parts_of(self.options)
        if "files" in parts:
            found += guards.of_parts(self.options, job.point, beside=True)
        if "database" not in parts:
            text = "Without the database there is nothing that could go to a point in time."
            found.append(Refusal("mode", text, "Restore files by restore_mode: whole, restore_parts: [files]."))
        if self.files.wanted(job.point) and not self.files_done:
            found += self.files.refusals(job, self.options["database"]["name"], asked=self.cluster.there)
        return found + self.space(job).refusals()

    def space(self, job: Any) -> guards.Space:
        """What is needed where."""
        space = guards.Space()
        if not self.done:
            there = delta.size(self.half) if self.half else 0
            needed = max(0, int(self.backup.size * 1.1) - there) + (256 << 20)
            space.need(os.path.dirname(self.cluster.directory), needed)
        if self.files.wanted(job.point) and not self.files_done:
            space.need(self.options["data_directory"], int(job.point["application"].get("bytes") or 0))
        return space

    def plan(self, job: Any) -> Dict[str, Any]:
        """What would be done."""
        kind = f"{self.backup.label} ({self.backup.type})"
        old = ", over a copy of what is there" if self.setting["delta"] and self.cluster.there else ""
        steps = ["have the database archive the rest of its log"] if self.reach.adds else []
        steps += [
            f"restore the backup {kind} beside {self.cluster.directory}{old}, replay to {self.wanted.words} on"
            f" {self.choice.words}, check it, swap"
        ]
        steps += self.apart.spaces.planned()
        kept = []
        if self.cluster.there:
            spaces = [each["path"] for each in outside.of_cluster(Path(self.cluster.directory))]
            name = str(directories.aside(self.cluster.directory, job.run_id))
            kept.append(outside.with_spaces("directory", name, spaces))
        if self.files.wanted(job.point):
            steps.append(
                f"unpack the files of {job.point['id']}, as of its own time, beside {self.options['data_directory']},"
                " swap"
            )
            kept += self.files.planned(job)
        space = self.space(job)
        return {
            "target": self.target,
            "steps": steps,
            "kept": kept,
            "disks": space.plan(),
            "unseen": space.unseen,
            "reach": as_dicts([*self.reach.checks(), *will_return(self.wanted, self.source, self.choice.number)]),
            "timeline": self.choice.number,
            "timelines": windows(self.choice.tree, self.choice.current),
            "since": self.timelines.since(self.stanza, self.backup.archive_id),
        }

    def _archive(self, job: Any) -> None:
        """What the old server wrote, while it runs."""
        job.progress.phase("archive")
        job.checks.append(reach.archive_rest(self.options["database"], self.reach, job.progress.tick))
        self.timelines.again(self.choice)

    def work(self, job: Any, state: State) -> None:
        """Beside first, then the swap, then the real start."""
        files = self.files.wanted(job.point) and not self.files_done
        state.note(wanted=self._wanted(job))
        if not self.done and self.reach.adds:
            self._archive(job)
        if files:
            job.progress.phase("fetch")
            point = {**job.point, "objects": self.objects(job)}
            Download(job.s3, self.options["storage"], point, job.folder / "objects").run(4, job.progress.tick)
            self.files.unpack(job, state)
        if not self.done:
            try:
                self._beside(job, state)
            except MaintenanceError as error:
                raise info.expired(self.backrest, self.repository, self.backup.label, error) from None
            job.progress.phase("swap")
            self.cluster.stop(job.progress.tick)
            kept = directories.aside(self.cluster.directory, job.run_id)
            old = directories.exchange(state, "cluster", self._new, self.cluster.directory, kept)
            job.changed = True
            if old:
                self._keep(job, state, str(old), state.run)
        if files:
            self.files.swap(job, state)
        begin(self, job, state)
        leftovers.gone_aside(self.options, job, state)

    def _beside(self, job: Any, state: State) -> None:
        self._new = self.half or directories.beside(self.cluster.directory, job.run_id)
        state.note(making_cluster=str(self._new))
        if not self.half:
            self._new.mkdir(mode=0o700)
            state.note(making_cluster_mark=mark(self._new))
            if os.geteuid() == 0:
                os.chown(self._new, self.backrest.user.uid, self.backrest.user.gid)
        arguments = [f"--repo={self.repository}", f"--set={self.backup.label}", f"--pg1-path={self._new}"]
        arguments.append(own_spool(self._new))
        self.apart.spaces.note = lambda made: state.note(made_spaces=made)
        arguments += self.apart.spaces.arguments()
        arguments += [*self.wanted.arguments(), f"--target-timeline={self.choice.number}"]
        # Asynchronously it may wait two minutes in vain for a segment that the server asks for again.
        command = self._get(self.cluster.directory, "--no-archive-async")
        arguments.append(f"--recovery-option=restore_command={command}")
        if self.setting["elsewhere"]:
            # Two servers may not write into one archive.
            arguments.append("--archive-mode=off")
        total = self.backup.size
        begun = bool(self.half)
        if self.setting["delta"] and not begun:
            job.progress.phase("copy")
            begun = delta.copy(self.cluster.directory, self._new, self.backrest.user.identity(), job.progress.tick)
        if begun:
            arguments.append("--delta")
        with self.backrest.start("restore", *arguments) as running:
            job.progress.phase(
                "restore", lambda: {"bytes_done": int(total * running.percent / 100), "bytes_total": total}
            )
            while not running.finished():
                job.progress.tick()
                time.sleep(0.05)
        if begun or self.setting["delta"]:
            text = f"{running.matched} files were there as in the backup; pgBackRest fetched the others."
            job.checks.append(Check("restore.delta", "Files not fetched", OK, running.matched, message=text))
        job.progress.phase("replay")
        self._replay(job, state)

    def _get(self, directory: Any, *more: str) -> str:
        words = self.backrest.arguments("archive-get", f"--repo={self.repository}", f"--pg1-path={directory}", *more)
        return " ".join(shlex.quote(word).replace("%", "%%") for word in words) + ' %f "%p"'

    def _replay(self, job: Any, state: State) -> None:
        user, name, tick = self.options["database"]["user"], self.options["database"]["name"], job.progress.tick
        settings = {"restore_command": self._get(self._new, "--no-archive-async")}
        latest = self.wanted.type == "latest"
        if latest:
            # As a standby it waits at the end of the log, and does not begin a timeline of its own before it is told.
            os.rename(self._new / "recovery.signal", self._new / "standby.signal")
        postgres, configuration = self.cluster.programs["postgres"], self.cluster.configuration
        if self.setting["elsewhere"]:
            job.checks += self.cluster.as_copy(self._new, self.apart.major)
        else:
            # What the new timeline begins with is archived once the server is in place.
            settings["archive_mode"] = "on"
        with Replay(self._new, postgres, self.backrest.user, settings, self.apart, configuration) as replay:
            state.note(home=str(replay.home), home_mark=mark(replay.home))
            replay.start()
            if latest:
                size = self.cluster.segment_size(self._new)
                lsn = replay.until_end(user, self.timelines.last(self.choice, size), tick)
            else:
                lsn = replay.until_paused(user, tick)
            job.progress.phase("prove")
            home, database = replay.home_of(user), replay.database(name, user)
            closed = check_there(home, name, self.choice, lsn)
            proof = Proof(self, job, state, lsn)
            proof.place(home)
            seen = not closed.to_all and proof.contents(database, again=True)
            # Here, and not where the server could write all: what was looked at is what will be started.
            replay.promote(user, tick)
            if closed:
                proof.open_up(home, name, closed)
            proof.login(home)
            if not seen:
                proof.contents(database, again=False)
            replay.stop()
        self.cluster.check_stopped(self._new)
        job.checks += self.cluster.raise_settings(self._new, replay.raised)
        self.apart.spaces.settle(self._new, replay.maps)

    def undo(self, job: Any, state: State) -> None:
        """Removes what was made beside; the old cluster was not touched."""
        directories.remove_made(state.run)
        tablespaces.remove(state.run.get("made_spaces"))
