# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets pgBackRest up on a database's host, step by step; each step says what it changes, and changes nothing twice."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..errors import ConfigurationError, MaintenanceError, StorageError
from . import configuration, info, messages, schedule, server
from .program import PgBackRest, check_server

SPEC: Dict[str, Any] = {
    "stanza": {"type": "str", "required": True},
    "repositories": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": configuration.REPOSITORY_SPEC,
    },
    "database_name": {"type": "str", "required": True},
    "maintenance_user": {"type": "str"},
    "config_file": {"type": "path", "default": "/etc/pgbackrest/pgbackrest.conf"},
    "program": {"type": "path"},
    "run_as": {"type": "str"},
    "data_directory": {"type": "path"},
    "port": {"type": "int", "default": 5432},
    "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
    "database_user": {"type": "str"},
    "superuser": {"type": "str"},
    "compression": {"type": "str", "default": "zst", "choices": ["zst", "lz4", "gz", "none"]},
    "compression_level": {"type": "int"},
    "process_max": {"type": "int", "default": 2},
    "archive_async": {"type": "bool", "default": True},
    "archive_timeout": {"type": "int", "default": 300},
    "wait_for_wal": {"type": "int", "default": 60},
    "spool_path": {"type": "path", "default": "/var/spool/pgbackrest"},
    "log_path": {"type": "path", "default": "/var/log/pgbackrest"},
    "lock_path": {"type": "path", "default": "/tmp/pgbackrest"},  # noqa: S108 pgBackRest's own default
    "restart": {"type": "bool", "default": False},
    "restart_command": {"type": "list", "elements": "str", "default": []},
    "upgrade_stanza": {"type": "bool", "default": False},
    "scheduler": {"type": "str", "default": "none", "choices": ["timer", "cron", "none"]},
    "schedule": {"type": "dict", "default": {}},
}


class Setup:
    """One host's configuration.

    :param options: see SPEC
    :param check: only say what would be changed
    """

    def __init__(self, options: Dict[str, Any], check: bool = False) -> None:
        self.options = dict(options)
        self.check = check
        self.tool = PgBackRest(self.options)
        self.steps: List[str] = []
        self.diff: List[Dict[str, str]] = []
        self.restart_needed = False
        self.checked = False
        if not 0 < self.options["archive_timeout"] <= server.LONGEST_ARCHIVE_TIMEOUT:
            raise ConfigurationError(
                f"An archive_timeout of {self.options['archive_timeout']} s makes no sense.",
                f"Set backup_pgbackrest_archive_timeout to 1 to {server.LONGEST_ARCHIVE_TIMEOUT} s.",
            )

    def run(self) -> Dict[str, Any]:
        """Carries everything out.

        :returns: changed, steps (in words), diff, restart_needed, checked (whether pgBackRest's check went well),
            pgbackrest_version
        :raises MaintenanceError: a step failed; those before it are done
        """
        with server.superuser(self.options, self.tool.user, self.options["database_name"]) as connection:
            about = server.described(connection)
            check_server(self.tool.version, int(about["version"] or 0))
            if about["standby"]:
                raise ConfigurationError("The server is a standby.", "Run this on the primary's host.")
            self.options["data_directory"] = self.options.get("data_directory") or about["data_directory"]
            self._folders()
            self._configuration()
            # Before anything is archived: an archive without its stanza refuses each segment.
            self._stanza(connection)
            self._settings(connection)
            self._rights(connection)
            self.restart_needed = bool(server.waiting(connection))
        if self.restart_needed and self.options["restart"]:
            self._restart()
        if not self.check and not self.restart_needed:
            self.tool.checked("check", timeout=self.options["wait_for_wal"] + 120)
            self.checked = True
        self._schedule()
        return {
            "changed": bool(self.steps),
            "steps": self.steps,
            "diff": self.diff,
            "restart_needed": self.restart_needed,
            "checked": self.checked,
            "pgbackrest_version": ".".join(map(str, self.tool.version)),
        }

    def _step(self, text: str, header: str = "", before: str = "", after: str = "") -> bool:
        """Notes a change; whether it is to be carried out."""
        self.steps.append(text)
        if header:
            self.diff.append({"before_header": header, "after_header": header, "before": before, "after": after})
        return not self.check

    def _folders(self) -> None:
        user = self.tool.user
        for name in ("log_path", "lock_path", "spool_path"):
            path = Path(self.options[name])
            if not path.is_dir() and self._step(f"create {path}"):
                try:
                    path.mkdir(mode=0o750, parents=True, exist_ok=True)
                    if os.geteuid() == 0:
                        os.chown(path, user.uid, user.gid)
                except OSError as error:
                    raise ConfigurationError(
                        f"{path} cannot be made: {error}", f"Run as root, or correct backup_pgbackrest_{name}."
                    ) from None
        folder = Path(self.options["config_file"]).parent
        if not folder.is_dir() and self._step(f"create {folder}"):
            try:
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(
                    f"{folder} cannot be made: {error}", "Run as root, or correct backup_pgbackrest_config_file."
                ) from None

    def _configuration(self) -> None:
        path = Path(self.options["config_file"])
        wanted = configuration.render(self.options, self.tool.version)
        before = configuration.read(str(path))
        text = configuration.text(wanted)
        if before != text:
            shown = configuration.text(configuration.parsed(before or ""), hide=True) if before is not None else ""
            after = configuration.text(wanted, hide=True)
            if shown == after:
                after += "# (a secret, a comment or the order changes)\n"
            if self._step(f"write {path}", str(path), shown, after):
                configuration.write(path, text, self.tool.user)
            return
        status = path.stat()
        wrong = stat.S_IMODE(status.st_mode) != 0o600 or status.st_uid != self.tool.user.uid
        if wrong and self._step(f"give {path} to {self.tool.user.name}, 0600"):
            configuration.write(path, text, self.tool.user)

    def _settings(self, connection: Any) -> None:
        changes = server.settings(connection, self.tool.program, self.options)
        if not changes:
            return
        names = ", ".join(name for name, _now, _value in changes)
        before = "".join(f"{name} = {now}\n" for name, now, _value in changes)
        after = "".join(f"{name} = {value}\n" for name, _now, value in changes)
        if self._step(f"set {names}", "postgresql.auto.conf", before, after):
            server.change_settings(connection, changes)
            time.sleep(0.2)  # until the postmaster has read them

    def _rights(self, connection: Any) -> None:
        role = self.options.get("maintenance_user")
        statements = server.rights(connection, role) if role else []
        if statements and self._step(
            f"grant {role} what it lacks", "rights", "", "".join(f"{statement}\n" for statement in statements)
        ):
            server.grant(connection, statements)

    def _restart(self) -> None:
        command = self.options["restart_command"]
        if not command:
            raise ConfigurationError(
                "The server has to be restarted, and no command for that is set.",
                "Set backup_pgbackrest_restart_command, or restart it and run this again.",
            )
        if not self._step(f"restart the server: {' '.join(command)}"):
            return
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigurationError(f"{command[0]} does not run: {error}", "Correct the restart command.") from None
        if done.returncode:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:]
            raise ConfigurationError(f"{' '.join(command)} failed: {said}", "Look into the server's log.")
        deadline = time.monotonic() + 120
        while True:
            try:
                with server.superuser(self.options, self.tool.user, self.options["database_name"]) as connection:
                    left = server.waiting(connection)
                break
            except MaintenanceError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
        if left:
            raise ConfigurationError(
                f"After the restart {', '.join(left)} is still not as required.",
                "Look for it in the server's command line or in files read after postgresql.auto.conf.",
            )
        self.restart_needed = False

    def _stanza(self, connection: Any) -> None:
        """Creates the stanza in the repositories that have none, or has this cluster take it over.

        :raises ConfigurationError: it is another cluster's, and nobody said that this one takes it over
        """
        found = self._stanzas()
        if found is None or not all(each.exists for each in found):
            if self._step(f"create the stanza {self.options['stanza']}"):
                self.tool.checked("stanza-create")
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
            identifier = str(cursor.fetchone()[0])
        others = sorted({str(each.system_identifier) for each in found} - {identifier, "None"})
        if not others:
            return
        if not self.options["upgrade_stanza"]:
            raise ConfigurationError(
                f"The stanza {self.options['stanza']} is of another cluster, whose system identifier is "
                f"{', '.join(others)}; the server's is {identifier}. Nothing is archived.",
                "If this server takes its place, as after a major upgrade, run this again with"
                " -e backup_pgbackrest_upgrade_stanza=true; else choose another backup_pgbackrest_stanza.",
            )
        if self._step(f"upgrade the stanza {self.options['stanza']}"):
            self.tool.checked("stanza-upgrade")

    def _stanzas(self) -> Optional[List[info.Stanza]]:
        """The stanza in each repository, None when nothing is configured yet.

        :raises MaintenanceError: a repository cannot be read: what is not known to be there must not be relied on
        """
        if self.check and not os.path.exists(self.options["config_file"]):
            return None
        text = self.tool.checked("info", "--io-timeout=10", "--output=json")
        numbers = range(1, len(self.options["repositories"]) + 1)
        found = [info.parse(text, self.options["stanza"], number) for number in numbers]
        for number, each in enumerate(found, 1):
            if each.exists and each.problem:
                raise messages.explained(
                    f"Repository {number} cannot be read, and archiving is left as it is",
                    each.problem,
                    StorageError,
                    "Check the store, and the keys in backup_pgbackrest_repositories.",
                )
        return found

    def _schedule(self) -> None:
        contents = schedule.files(self.options, self.tool)
        changed = []
        for path, text in contents.items():
            before = configuration.read(str(path)) or ""
            if before == text or not self._step(f"{'write' if text else 'remove'} {path}", str(path), before, text):
                continue
            if text:
                path.write_text(text, encoding="utf-8")
                path.chmod(0o644)
            else:
                schedule.before_removal(path)
                path.unlink()
            changed.append(path)
        schedule.apply(changed, contents)
