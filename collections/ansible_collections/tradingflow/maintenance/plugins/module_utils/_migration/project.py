# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alembic project as a child: what it answers, line by line, while somebody watches the database."""

from __future__ import annotations

import json
import os
import pkgutil
import selectors
import subprocess
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, Iterator, List, Optional
from urllib.parse import quote

from .._work.programs import child_setup, last_words
from ..database import filled, libpq_environment, placeholders
from ..errors import ConfigurationError, MigrationError
from . import driver

_SAID = 8192
#: The driver travels to the host by its import, in a zip file that is gone when the work begins.
_DRIVER = (pkgutil.get_data(str(driver.__package__), "driver.py") or b"").decode("utf-8")


class Answers:
    """What a request gave.

    :ivar events: all of them, in order
    :ivar error: kind, message and code of what ended it; None when it ended well
    """

    def __init__(self) -> None:
        self.events: List[Dict[str, Any]] = []
        self.error: Optional[Dict[str, Any]] = None

    def add(self, event: Dict[str, Any]) -> None:
        """One more."""
        self.events.append(event)
        if event["event"] == "error":
            self.error = {name: event[name] for name in ("kind", "message", "code")}

    def of(self, name: str) -> List[Dict[str, Any]]:
        """Those of a name."""
        return [event for event in self.events if event["event"] == name]

    @property
    def pid(self) -> Optional[int]:
        """The server's process of the newest session; None before there is one."""
        found = self.of("session")
        return int(found[-1]["pid"]) if found else None


class Project:
    """How the project is reached.

    :param options: migration_project of the module
    :param database: the option "database": where its revisions run
    """

    def __init__(self, options: Dict[str, Any], database: Dict[str, Any]) -> None:
        self._options = options
        self._database = database
        if not os.path.isfile(options["config"]):
            raise ConfigurationError(
                f"There is no alembic configuration {options['config']} on this host.",
                "Correct migration_project.config, or choose the host that has the project.",
            )
        values = placeholders(database)
        self._environment = {key: filled(str(value), values) for key, value in (options["environment"] or {}).items()}
        self._settings = {key: filled(str(value), values) for key, value in (options.get("settings") or {}).items()}
        self._secrets = [value for value in (database.get("password"),) if value]
        self._secrets += [quote(value, safe="") for value in self._secrets]
        # What came by a variable may be a secret of its own, in whatever form.
        told = [*self._environment.values(), *self._settings.values()]
        self._secrets += [value for value in told if len(value) > 7 and "://" in value]

    def _said(self, value: Any) -> Any:
        """What came from the project, without our secrets in it."""
        if isinstance(value, dict):
            return {key: self._said(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._said(item) for item in value]
        if isinstance(value, str):
            for secret in sorted(self._secrets, key=len, reverse=True):
                value = value.replace(secret, "***")
        return value

    def ask(
        self,
        request: Dict[str, Any],
        watch: Callable[[Answers], None] = lambda answers: None,
        pause: float = 0.1,
        answers: Optional[Answers] = None,
    ) -> Answers:
        """Answers of the project to a request, see driver.py.

        :param watch: called again and again meanwhile; what it raises ends the project
        :param answers: gets them as they come; what ends this early does not take them away
        :raises MigrationError: it ended without a word
        """
        answers = Answers() if answers is None else answers
        request = {
            "config": os.path.abspath(self._options["config"]),
            "directory": os.path.abspath(self._options["directory"] or os.path.dirname(self._options["config"]) or "."),
            "section": self._options["section"],
            "settings": self._settings,
            **request,
        }
        try:
            process = subprocess.Popen(
                [self._options["python"] or "python3", "-c", _DRIVER],
                env={
                    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                    "LANG": "C.UTF-8",
                    **libpq_environment(self._database),
                    **self._environment,
                },
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                preexec_fn=child_setup(0),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigurationError(
                f"The project's Python could not be started: {error}", "Correct migration_project.python."
            ) from None
        said: List[bytes] = [b""]
        listener = threading.Thread(target=_listen, args=(process.stderr, said), name="messages", daemon=True)
        listener.start()
        try:
            if process.stdin is not None:
                # Should it have ended already, it has said why.
                with suppress(BrokenPipeError), process.stdin as pipe:
                    pipe.write(json.dumps(request).encode("ascii") + b"\n")
            for lines in _lines(process.stdout, pause):
                for line in lines:
                    answers.add(self._said(json.loads(line)))
                watch(answers)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            listener.join(5)
        if not answers.error and not answers.of("end"):
            raise MigrationError(
                f"The alembic project ended without an answer: {self._said(last_words(said[0]))}",
                "Check migration_project.python: it needs alembic and what the project imports.",
            )
        return answers


def _listen(stream: Any, said: List[bytes]) -> None:
    with stream:
        for line in stream:
            said[0] = (said[0] + line)[-_SAID:]


def _lines(stream: Any, pause: float) -> Iterator[List[bytes]]:
    """All lines that there are, as they come, and none at least every so many seconds."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            whole: List[bytes] = []
            if selector.select(pause):
                data = os.read(stream.fileno(), 1 << 20)
                if not data:
                    return
                *whole, rest = (rest + data).split(b"\n")
            yield whole
