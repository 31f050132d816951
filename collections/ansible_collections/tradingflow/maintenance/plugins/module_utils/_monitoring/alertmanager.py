# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alertmanager's configuration: who is told of what. It has no includes, so that the file is a whole one."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Dict, List, Tuple

from ..errors import ConfigurationError
from ..masking import MASK
from .options import HEADER, MARK, as_yaml

#: Severities of our alerts, and whose receiver one without its own takes.
SEVERITIES = {"critical": "", "unknown": "critical", "warning": "critical", "watchdog": ""}
#: What must be the same in two alerts for the worse to silence the other.
EQUAL = ["alertname", "environment", "instance", "mountpoint", "host", "check"]
#: How the receiver begins that tells nobody. A digest of the rest follows, which the running server shows.
NOBODY = "tradingflow-nobody-"
# Keys whose values are nobody's secret.
_PLAIN = {"route", "routes", "receiver", "matchers", "source_matchers", "target_matchers", "equal"}
_PLAIN |= {"group_by", "group_wait", "group_interval", "repeat_interval"}
# A line of as_yaml: what stands before, a key, and its value; of a list only the value.
_LINE = re.compile(r'(\s*(?:- )*)((?:"(?:[^"\\]|\\.)*"|\w+):(?: |$))?(.*)')


def shown(text: str) -> str:
    """A configuration without what receivers are reached by: addresses of webhooks are secrets, too.

    One that is not of our making may have them anywhere, and is not shown.
    """
    if MARK not in text:
        return "(a configuration that is not of our making)\n" if text else ""
    lines, key = [], ""
    for number, line in enumerate(text.splitlines()):
        if line.lstrip().startswith("#"):
            lines.append(line if number < 2 and HEADER.fullmatch(line) else f"# {MASK}")
            continue
        found = _LINE.fullmatch(line)
        key = (found and (found.group(2) or "").rstrip(": ")) or key
        lines.append(line if key in _PLAIN and "#" not in line else _masked(line))
    return "".join(f"{line}\n" for line in lines)


def _masked(line: str) -> str:
    if line.startswith("  - name: "):
        return line
    before, key, value = _LINE.fullmatch(line).groups("")  # type: ignore[union-attr]
    return f"{before}{key}{MASK if value else ''}"


def receiver_of(options: Dict[str, Any], nobody: str) -> Dict[str, str]:
    """Severity -> receiver.

    :raises ConfigurationError: a route leads nowhere
    """
    routes, known = options["routes"], [str(one.get("name")) for one in options["receivers"]]
    strange = sorted(set(routes) - set(SEVERITIES))
    if strange:
        raise ConfigurationError(
            f"Alertmanager's route {strange[0]} is of no severity.", f"There are {', '.join(SEVERITIES)}."
        )
    if "critical" not in routes:
        raise ConfigurationError("Nobody is told of critical alerts.", "Set routes.critical to the name of a receiver.")
    for severity, name in routes.items():
        if name not in known:
            raise ConfigurationError(
                f"The receiver {name!r} of {severity} alerts is not among the receivers.",
                "Correct routes or receivers.",
            )
    return {one: routes.get(one) or routes.get(other) or nobody for one, other in SEVERITIES.items()}


def configuration(options: Dict[str, Any]) -> Tuple[str, str, Dict[str, str]]:
    """The configuration's text, its marker, and which receiver alerts of a severity get to.

    :param options: see SPEC, alertmanager
    :raises ConfigurationError: a route leads nowhere
    """
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]
    marker = NOBODY + digest
    told = receiver_of(options, marker)
    routes: List[Dict[str, Any]] = []
    for severity, receiver in told.items():
        route: Dict[str, Any] = {"matchers": [f'severity="{severity}"'], "receiver": receiver}
        if severity == "watchdog":
            # Told again and again: it is the silence that calls.
            route.update(group_wait="0s", group_interval="1m", repeat_interval="5m")
        routes.append(route)
    document = {
        "route": {
            "receiver": told["critical"],
            "group_by": ["alertname", "environment"],
            **{name: options[name] for name in ("group_wait", "group_interval", "repeat_interval")},
            "routes": routes,
        },
        "inhibit_rules": [
            {
                "source_matchers": ['severity="critical"'],
                "target_matchers": ['severity="warning"'],
                "equal": EQUAL,
            }
        ],
        "receivers": [*options["receivers"], {"name": marker}],
    }
    return as_yaml(document), marker, told
