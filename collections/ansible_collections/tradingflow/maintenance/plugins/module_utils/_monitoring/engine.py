# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole of it: generated, checked, put in place, compared with the running servers; findings and what was done."""

from __future__ import annotations

import difflib
import re
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_action, unknown, utc_now
from ..errors import ConfigurationError, LockedError, MaintenanceError
from ..words import plural
from .alertmanager import NOBODY, configuration, shown
from .dashboard import dashboard, edited_json, ours_json
from .options import MARK, as_yaml, edited, ours, sealed
from .programs import routes_valid, rules_valid
from .rollout import Outcome, Unit, place
from .rule import Rule
from .rules import rules
from .running import alertmanagers, evaluated, routes_differ, rules_differ, silent_for_ever, unread
from .server import Server

#: Lines of a diff in the report; and names in a message.
MOST_LINES, FIRST = 60, 3
#: Seconds within which rules are evaluated that were just loaded: their interval, and some more.
EVALUATION = 70.0
#: How the parts are called: (name of checks, of what).
RULES, ROUTES, DASHBOARD = ("rules", "Rules"), ("routes", "Alertmanager's routes"), ("dashboard", "Dashboard")


class Configuring:
    """One run on one host.

    :param options: see SPEC, complete (plugin_utils/monitoring.py)
    """

    def __init__(self, options: Dict[str, Any], check_mode: bool) -> None:
        self.options, self.check_mode = options, check_mode
        self.checks: List[Check] = []
        self.actions: List[Dict[str, Any]] = []
        self.diff: List[Dict[str, str]] = []
        self.changed = False

    def run(self) -> Dict[str, Any]:
        """Everything; what fails is a finding, and takes nothing else with it.

        :raises ConfigurationError: the options make no sense
        """
        options = self.options
        found = rules(options)
        labels = {**{str(key): str(value) for key, value in options["labels"].items()}, "managed_by": "tradingflow"}
        labels["environment"] = options["environment_name"]
        group = f"tradingflow-{options['environment_name']}"
        prometheus = self._server("prometheus", options["prometheus_url"], options["prometheus_reload"])
        routes = self._routes()
        # Who gets alerts first, then the rules that make them.
        if routes:
            self._unit(ROUTES, *routes)
        self._unit(RULES, self._rules(found, labels, group, prometheus), len(found))
        if options["dashboard_file"]:
            self._unit(DASHBOARD, self._dashboard(found), 1)
        if prometheus is None:
            remedy = "Set monitoring_config_prometheus_url."
            text = "No Prometheus is named: whether one has the rules, and the metrics they look at, is not known."
            self.checks.append(unknown("monitoring.loaded", "Rules are loaded", text, remedy))
        else:
            self._running(prometheus, group, found)
        return {
            "changed": self.changed,
            "checks": self.checks,
            "actions": self.actions,
            "diff": self.diff,
            "rules": len(found),
        }

    def _server(self, kind: str, url: Optional[str], reload: List[str]) -> Optional[Server]:
        if not url:
            return None
        return Server(url, kind, reload, self.options["ca_file"], self.options["timeout"])

    def _rules(self, found: Sequence[Rule], labels: Dict[str, str], group: str, server: Optional[Server]) -> Unit:
        document = {"groups": [{"name": group, "interval": "1m", "rules": [rule.as_data(labels) for rule in found]}]}
        options = self.options
        check = partial(rules_valid, rules=found, promtool=options["promtool"], timeout=10 * options["timeout"])
        unit = self._text_file(options["rules_file"], as_yaml(document), 0o644, check, server)
        if server is not None:
            unit.loaded = partial(rules_differ, server, group, found, labels)
        return self._shared(unit)

    def _routes(self) -> Optional[Tuple[Unit, int]]:
        options = self.options["alertmanager"]
        if not options:
            return None
        settings = {key: value for key, value in options.items() if key not in ("file", "url", "reload")}
        text, marker, told = configuration(settings)
        if told["watchdog"].startswith(NOBODY):
            self.checks.append(
                Check(
                    "monitoring.watchdog",
                    "Somebody misses the watchdog",
                    WARNING,
                    False,
                    message="Nobody is told of the watchdog: that alerts do not get through any more is not noticed.",
                    remedy="Set routes.watchdog to a receiver outside of this platform that calls when it is silent.",
                )
            )
        server = self._server("alertmanager", options["url"], options["reload"])
        if server is None:
            raise ConfigurationError("It is not known where Alertmanager answers.", "Set alertmanager.url.")
        check = partial(routes_valid, told=told, amtool=self.options["amtool"], timeout=self.options["timeout"])
        # It may hold passwords.
        unit = self._text_file(options["file"], text, 0o640, check, server)
        unit.shown = shown
        unit.loaded = partial(routes_differ, server, marker, unit.text)
        return self._shared(unit), len(told)

    def _dashboard(self, found: Sequence[Rule]) -> Unit:
        environment = self.options["environment_name"]
        text = dashboard(environment, self.options["playbooks"], found)
        mine = partial(ours_json, environment=environment)
        path = self.options["dashboard_file"]
        return self._shared(Unit(path, text, 0o644, edited_json, mine, ours_json, lambda _text: None))

    def _text_file(
        self, path: str, body: str, mode: int, check: Callable[[str], None], server: Optional[Server]
    ) -> Unit:
        environment = self.options["environment_name"]
        mine = partial(ours, environment=environment)
        return Unit(path, sealed(body, environment), mode, edited, mine, lambda text: MARK in text, check, server)

    def _shared(self, unit: Unit) -> Unit:
        unit.group, unit.adopt = self.options["group"], self.options["adopt"]
        return unit

    def _unit(self, part: Tuple[str, str], unit: Unit, count: int) -> None:
        """Puts one file in place."""
        name, title = part
        id, started = f"monitoring.{name}", utc_now()
        try:
            outcome = place(unit, self.check_mode)
        except MaintenanceError as error:
            # Refused before anything was changed. What nobody could look at is not known to be wrong.
            status = UNKNOWN if isinstance(error, (ConfigurationError, LockedError)) else CRITICAL
            self.checks.append(Check(id, title, status, message=error.message, remedy=error.remedy, source=unit.path))
            return
        except OSError as error:
            text = f"{unit.path} could not be put in place: {error.strerror or error}."
            remedy = "See that there is room, and that the folder can be written to; then run again."
            self.checks.append(Check(id, title, CRITICAL, message=text, remedy=remedy, source=unit.path))
            return
        self._told(part, unit, outcome, count)
        self._acted(part, unit, outcome, started)

    def _told(self, part: Tuple[str, str], unit: Unit, outcome: Outcome, count: int) -> None:
        name, title = part
        diff = _diff(unit, outcome)
        if outcome.edited:
            raw = _compared(outcome.before or "", unit.text)
            lines = sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in raw)
            self.checks.append(
                Check(
                    f"monitoring.drift:{name}",
                    f"{title} changed by hand",
                    WARNING,
                    lines,
                    message=f"{unit.path} was changed by hand: {plural(lines, 'line')} differ from what is generated.",
                    remedy="Bring what is meant to stay into the inventory; FILE.old has what was there.",
                    source=unit.path,
                    details={"diff": diff[:MOST_LINES]},
                )
            )
        server = unit.server.name if unit.server else ""
        check = Check(f"monitoring.{name}", title, OK, count, source=unit.path)
        if outcome.problem:
            check.status, check.remedy = CRITICAL, outcome.remedy
            back = (
                "What was there before was put back, and reloaded."
                if outcome.back
                else "What was there before is NOT loaded"
            )
            check.message = f"{server} did not take {unit.path}: {outcome.problem} {back}"
            if not outcome.back:
                check.message += f": {' '.join(outcome.notes)}"
        elif self.check_mode and (outcome.changed or outcome.differences):
            check.status = WARNING
            first = (outcome.differences or ["the file differs"])[0]
            check.message = f"{unit.path} would be brought to what is generated: {first}."
            check.remedy = "Run without --check."
        else:
            told = f", and {server} has exactly that" if server else ", checked; nobody was asked whether it is loaded"
            what = {"rules": plural(count, "rule"), "routes": plural(count, "route")}.get(name, "The dashboard")
            check.message = f"{what} in {unit.path}{told if name != 'dashboard' else ''}."
        self.checks.append(check)

    def _acted(self, part: Tuple[str, str], unit: Unit, outcome: Outcome, started: str) -> None:
        name, title = part
        if not outcome.changed and not outcome.reloaded and not outcome.problem:
            return
        self.changed = self.changed or outcome.changed
        if outcome.changed and not outcome.problem:
            before = unit.shown(outcome.before or "")
            self.diff.append(
                {
                    "before": before,
                    "after": unit.shown(unit.text),
                    "before_header": unit.path,
                    "after_header": unit.path,
                }
            )
        status = "failed" if outcome.problem else "planned" if self.check_mode else "ok"
        what = "Loaded again" if not outcome.changed else "Written" if outcome.before is None else "Replaced"
        message = outcome.problem or f"{what}: {unit.path}."
        details = {"diff": _diff(unit, outcome)[:MOST_LINES]}
        title = f"{title} put in place"
        self.actions.append(as_action(f"monitoring.{name}", title, status, outcome.changed, message, started, details))

    def _running(self, server: Server, group: str, found: Sequence[Rule]) -> None:
        """What the running Prometheus says."""
        ways = (
            ("loaded", "Rules can be evaluated", partial(self._evaluated, server, group)),
            ("metrics", "Rules can fire", partial(self._can_fire, server, found)),
            ("alerting", "Alerts get to Alertmanager", partial(self._alerting, server)),
        )
        for name, title, judged in ways:
            try:
                self.checks.append(judged(f"monitoring.{name}", title))
            except MaintenanceError as error:
                self.checks.append(unknown(f"monitoring.{name}", title, error.message, error.remedy))
            except Exception as error:
                text = f"{title}: {type(error).__name__}: {error}"
                self.checks.append(unknown(f"monitoring.{name}", title, text, "Report it."))

    def _evaluated(self, server: Server, group: str, id: str, title: str) -> Check:
        said: List[Optional[Tuple[List[str], int]]] = []

        def ended() -> bool:
            said[:] = [evaluated(server, group)]
            return said[0] is None or bool(said[0][0]) or not said[0][1]

        server.until(ended, EVALUATION)
        (now,) = said
        wrong, waiting = now or ([], 0)
        stale = unread(server)
        told = [stale] if stale else []
        told += wrong
        if told:
            text = f"{'; '.join(told[:FIRST])}."
            return Check(id, title, CRITICAL, len(told), message=text, remedy="Read Prometheus's log.")
        if now is None:
            text = f"Prometheus has no group {group}: whether its rules can be evaluated is not known."
            return unknown(id, title, text, "See why the rules are not in place.")
        if waiting:
            text = f"Prometheus has not evaluated {plural(waiting, 'rule')} yet: whether they fail is not known."
            return unknown(id, title, text, "Run again in some minutes; if it stays so, read Prometheus's log.")
        return Check(id, title, OK, 0, message="Prometheus read its configuration, and no rule fails.")

    def _can_fire(self, server: Server, found: Sequence[Rule], id: str, title: str) -> Check:
        missing = silent_for_ever(server, found)
        details = {"rules": dict(sorted(missing.items())[:MOST_LINES])}
        if not missing:
            return Check(id, title, OK, 0, message=f"There are series for each of {plural(len(found), 'rule')}.")
        names = list(dict.fromkeys(key.partition(":")[0] for key in missing))
        why = list(dict.fromkeys(missing.values()))
        return Check(
            id,
            title,
            UNKNOWN,
            len(missing),
            message=f"{plural(len(missing), 'rule')} would never fire, such as {', '.join(names[:FIRST])}: "
            f"{'; '.join(why[:FIRST])}.",
            remedy="Have Prometheus scrape it, correct metrics and selectors, or name the rules in leave_out.",
            details=details,
        )

    def _alerting(self, server: Server, id: str, title: str) -> Check:
        # After a reload it finds them anew, within 5 s.
        known: List[str] = []

        def found() -> bool:
            known[:] = alertmanagers(server)
            return bool(known)

        if server.until(found):
            # Prometheus lists those that it was told of, whether they are there or not.
            silent = [problem for problem in map(self._not_ready, known) if problem]
            if silent:
                text = f"Whether alerts get through is not known: {' '.join(silent[:FIRST])}"
                return unknown(id, title, text, "Start it, or take it out of alerting.alertmanagers of prometheus.yml.")
            return Check(id, title, OK, len(known), message=f"Prometheus sends alerts to {', '.join(known[:FIRST])}.")
        text = "Prometheus knows no Alertmanager: alerts fire, and nobody is told."
        return Check(
            id, title, CRITICAL, 0, message=text, remedy="Name it in alerting.alertmanagers of prometheus.yml."
        )

    def _not_ready(self, url: str) -> str:
        """Why an Alertmanager that Prometheus sends alerts to is not there; empty when it is."""
        base = re.sub(r"/api/v[12]/alerts$", "", url)
        try:
            Server(base, "alertmanager", [], self.options["ca_file"], self.options["timeout"]).text("/-/ready")
        except MaintenanceError as error:
            return error.message
        return ""


def _diff(unit: Unit, outcome: Outcome) -> List[str]:
    return _compared(unit.shown(outcome.before or ""), unit.shown(unit.text))


def _compared(before: str, after: str) -> List[str]:
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=1))
