# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A running Prometheus or Alertmanager, over its HTTP interface."""

from __future__ import annotations

import http.client
import json
import math
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any, Callable, Dict, List, Optional
from urllib.parse import urlencode

from .._checks.metrics import BadMetrics, find, parse
from .._http.request import context, get, replica
from ..errors import ConfigurationError, MaintenanceError

#: Bytes of an answer that are read: thousands of rules.
MOST = 16 << 20
#: Seconds between two looks at whether a reload has ended.
_PAUSE = 0.2


class Server:
    """One of them.

    :param url: where it answers, such as http://localhost:9090
    :param kind: prometheus or alertmanager, as its own metrics begin
    :param reload: a program that reloads it; empty for POST /-/reload
    """

    def __init__(self, url: str, kind: str, reload: List[str], ca_file: Optional[str], timeout: float) -> None:
        self.kind, self.name, self.timeout, self.program = kind, kind.capitalize(), timeout, reload
        try:
            self.target = replica(url, 1)
        except ConfigurationError:
            raise ConfigurationError(
                f"The address of {self.name} is no plain http or https URL.", f"Write http://host:port in {kind}_url."
            ) from None
        try:
            self.trust = context(ca_file)
        except ConfigurationError:
            raise ConfigurationError(
                f"The CA file {ca_file} of {self.name} cannot be read.", "Correct ca_file."
            ) from None

    def text(self, path: str, **query: str) -> bytes:
        """The body of an answer with status 200.

        :raises MaintenanceError: there is none
        """
        asked = f"{path}?{urlencode(query)}" if query else path
        try:
            answer = get(self.target, asked, self.timeout, self.trust, MOST)
        except (OSError, http.client.HTTPException) as error:
            raise self.silent(str(error) or type(error).__name__) from None
        if answer.status != 200 or answer.truncated:
            what = "more than we read" if answer.truncated else f"status {answer.status}"
            said = " ".join(answer.body[:300].decode(errors="replace").split())
            raise self.silent(f"it answers {path} with {what}: {said}")
        return answer.body

    def silent(self, problem: str) -> MaintenanceError:
        """The error that it does not answer as it must."""
        return MaintenanceError(
            f"{self.name} at {self.target.name} does not answer: {problem}",
            f"Check that it runs, and {self.kind}_url; the API must be reachable from the host that the role runs on.",
        )

    def api(self, path: str, **query: str) -> Any:
        """What Prometheus's API has to say.

        :raises MaintenanceError: nothing
        """
        try:
            answer = json.loads(self.text(path, **query))
            if self.kind == "alertmanager":
                return answer
            if answer["status"] != "success":
                raise ValueError(str(answer.get("error")))
            return answer["data"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.silent(f"what it says at {path} is not understood ({error})") from None

    def query(self, expr: str) -> List[Dict[str, Any]]:
        """The series that an instant query finds.

        :raises MaintenanceError: none can be had
        """
        data = self.api("/api/v1/query", query=expr)
        if not isinstance(data, dict) or data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
            raise self.silent("the answer to a query is no vector")
        result: List[Dict[str, Any]] = data["result"]
        return result

    def metric(self, name: str) -> Optional[float]:
        """One of its own metrics; None when it has none.

        :raises MaintenanceError: they cannot be had
        """
        try:
            found = find(parse(self.text("/metrics")), [name])
        except BadMetrics:
            return None
        return found[0].value if len(found) == 1 and math.isfinite(found[0].value) else None

    def reload(self) -> None:
        """Has it read its configuration again, and waits until it has.

        :raises MaintenanceError: it refuses, or nobody knows
        """
        stamp = f"{self.kind}_config_last_reload_success_timestamp_seconds"
        before = self.metric(stamp)
        if self.program:
            self._by_program()
            self._wait(stamp, before)
        else:
            self._by_request()
        if self.metric(f"{self.kind}_config_last_reload_successful") != 1:
            raise MaintenanceError(f"{self.name} did not take its configuration", "Read its log for the reason.")

    def _by_request(self) -> None:
        # http or https only: see replica().
        request = urllib.request.Request(f"{self.target.name}/-/reload", data=b"", method="POST")  # noqa: S310
        handlers: List[Any] = [urllib.request.ProxyHandler({})]
        if self.target.scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=self.trust))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=self.timeout):
                pass
        except urllib.error.HTTPError as error:
            said = " ".join(error.read(600).decode(errors="replace").split())
            if error.code in (403, 404, 405):
                raise MaintenanceError(
                    f"{self.name} does not take POST /-/reload (status {error.code}: {said})",
                    f"Start it with --web.enable-lifecycle, or set {self.kind}_reload to a program, "
                    "such as [systemctl, reload, prometheus].",
                ) from None
            raise MaintenanceError(f"{self.name} refuses: {said}", "Correct what it complains of.") from None
        except (OSError, http.client.HTTPException) as error:
            raise self.silent(str(error)) from None

    def _by_program(self) -> None:
        try:
            done = subprocess.run(
                self.program,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MaintenanceError(f"{self.program[0]} could not be run: {error}", "Correct it.") from None
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[-300:]
            raise MaintenanceError(f"{self.program[0]} ended with {done.returncode}: {said}", "Correct it.")

    def _wait(self, stamp: str, before: Optional[float]) -> None:
        """A signal says nothing: the time of the last success moves on, or the last reload was none."""

        def ended() -> bool:
            now = self.metric(stamp)
            return now is not None and now != before

        if not self.until(ended):
            raise MaintenanceError(
                f"{self.name} has not read its configuration within {self.timeout:g} s",
                "Read its log for the reason; see that the program reloads this one.",
            )

    def until(self, true: Callable[[], bool], seconds: Optional[float] = None) -> bool:
        """Waits until something is true, no longer than the time that an answer may take, or these seconds."""
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        while not true():
            if time.monotonic() > end:
                return False
            time.sleep(_PAUSE)
        return True
