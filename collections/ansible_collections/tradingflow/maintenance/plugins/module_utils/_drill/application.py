# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The application started against the restored copy, and asked how it is."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import quote

from .._checks.application import reason, verdict, version_of
from .._checks.health import Words
from .._http.request import Replica, context, get, replica
from .._isolation.processes import began, write_group
from .._postgres.instance import Instance, free_port
from .._work.programs import child_setup, last_words
from ..checks import CRITICAL, OK, WARNING, Check, unknown
from ..database import filled, placeholders
from ..errors import ConfigurationError
from ..words import printable

#: Placeholders whose values are secret: they may stand in the environment only, which other users cannot read.
SECRET = ("{database_url}", "{database_address}", "{database_password}")
_NAMES = re.compile(r"(?i)password|secret|token|key|url|dsn")


def check_options(options: Dict[str, Any]) -> None:
    """Raises ConfigurationError when the application's options make no sense."""
    if not options["command"]:
        raise ConfigurationError("restore_drill_application has no command.", "Set its command as a list of arguments.")
    if any(secret in part for part in options["command"] for secret in SECRET):
        raise ConfigurationError(
            "restore_drill_application.command would show a password on the command line.",
            "Hand {database_url}, {database_address} and {database_password} on in its environment.",
        )
    Words.of(options.get("words") or {})


class Application:
    """The application as a child. Leaving the context ends it.

    :param folder: ours; the process's current directory
    :param data: its unpacked files
    """

    def __init__(self, options: Dict[str, Any], instance: Instance, database: str, folder: Path, data: Path) -> None:
        self._options = options
        self._words = Words.of(options.get("words") or {})
        self._folder = folder
        self._process: Optional[subprocess.Popen[bytes]] = None
        user = options.get("user") or instance.superuser
        port = free_port()
        copy = {"host": "127.0.0.1", "port": instance.port, "name": database, "sslmode": "disable"}
        self._values = {
            **placeholders({**copy, "user": user, "password": instance.password}),
            "{port}": str(port),
            "{data_directory}": str(data),
            "{scratch_directory}": str(folder),
        }
        self._environment = {key: filled(str(value), self._values) for key, value in options["environment"].items()}
        self._target: Replica = replica(filled(options["url"], self._values), 1)
        self._secrets = [instance.password, quote(instance.password, safe="")]
        self._secrets += [value for key, value in self._environment.items() if _NAMES.search(key) and len(value) > 5]

    def __enter__(self) -> Application:
        self._folder.mkdir(mode=0o700)
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        # The group's number is nobody else's as long as its leader was not waited for.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            deadline = time.monotonic() + 5
            while began(process.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
        process.wait()

    def start(self, tick: Callable[[], None]) -> List[Check]:
        """Starts it and waits until it is healthy and ready; then its version is compared."""
        deadline = time.monotonic() + self._options["timeout"]
        try:
            with open(self._folder / "output", "wb") as output:
                self._process = subprocess.Popen(
                    [filled(part, self._values) for part in self._options["command"]],
                    # Nothing of our own environment: above all no credentials with which it could trade.
                    env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", **self._environment},
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    preexec_fn=child_setup(0),
                )
            write_group(self._folder, self._process.pid)
        except (OSError, subprocess.SubprocessError) as error:
            return [self._failed(f"it did not start: {printable(error, 200)}")]
        paths = [path for path in (self._options["health_path"], self._options["ready_path"]) if path]
        said = "it was not asked"
        while time.monotonic() < deadline:
            tick()
            if self._process.poll() is not None:
                return [self._failed(f"it ended with exit status {self._process.returncode}")]
            said = self._asked(paths)
            if not said:
                return [
                    Check(
                        "drill.application",
                        "Application on the restored copy",
                        OK,
                        True,
                        message=f"It is healthy ({', '.join(paths)}).",
                    ),
                    *self._version(),
                ]
            time.sleep(0.1)
        return [self._failed(f"it is not healthy after {self._options['timeout']} s: {said}")]

    def _asked(self, paths: List[str]) -> str:
        """What is wrong, nothing when it is well."""
        for path in paths:
            try:
                status, said = verdict(get(self._target, path, 5, context(None)), self._words)
            except (OSError, http.client.HTTPException) as error:
                return f"{path}: {reason(error)}"
            if status != OK:
                return f"{path} says {said}"
        return ""

    def _failed(self, text: str) -> Check:
        try:
            said = last_words((self._folder / "output").read_bytes()[-4096:])
        except OSError:
            said = "(it said nothing)"
        # The longest first: a URL has the password in it.
        for secret in sorted(self._secrets, key=len, reverse=True):
            said = said.replace(secret, "***")
        return Check(
            "drill.application",
            "Application on the restored copy",
            CRITICAL,
            False,
            message=f"The application is not well on the restored copy: {text}. Its output ends: {said}",
            remedy="Read its output; check restore_drill_application's command, environment and user.",
        )

    def _version(self) -> List[Check]:
        expected = self._options.get("version")
        if not self._options["version_path"]:
            return []
        id, title = "drill.application_version", "Application's version"
        found = version_of(self._target, {"version_path": self._options["version_path"], "timeout": 5}, context(None))
        if found is None:
            return [unknown(id, title, "The application does not say its version.", "Check its version_path.")]
        if expected and found != expected:
            text = f"The application is of version {found}, the recovery point belongs to {expected}."
            remedy = "Drill with the version that the recovery point belongs to."
            return [Check(id, title, WARNING, found, message=text, remedy=remedy)]
        text = f"Version {found}{', as recorded' if expected else '; the recovery point names none'}."
        return [Check(id, title, OK, found, message=text)]
