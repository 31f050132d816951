# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the monitoring's configuration, and a document of them as YAML that people can read."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Dict, Iterator

#: Playbook -> seconds after which the next run is missing, as the playbooks themselves have them.
PLAYBOOKS = {"daily": 93600, "weekly": 691200, "monthly": 2764800}

SPEC: Dict[str, Any] = {
    "environment_name": {"type": "str", "required": True},
    "playbooks": {"type": "dict", "default": PLAYBOOKS},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "targets": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "thresholds": {"type": "dict", "default": {}},
            "mounts": {"type": "list", "elements": "dict", "default": []},
        },
    },
    "application": {"type": "dict", "default": {}},
    "database": {"type": "dict", "default": {}},
    "metrics": {"type": "dict", "default": {}},
    "selectors": {"type": "dict", "default": {}},
    "leave_out": {"type": "list", "elements": "str", "default": []},
    "labels": {"type": "dict", "default": {}},
    "rules_file": {"type": "path", "required": True},
    "dashboard_file": {"type": "path"},
    "prometheus_url": {"type": "str"},
    "prometheus_reload": {"type": "list", "elements": "str", "default": []},
    "alertmanager": {
        "type": "dict",
        "options": {
            "file": {"type": "path", "required": True},
            # Without it nobody would know whether it is loaded, and nobody could have it loaded.
            "url": {"type": "str", "required": True},
            "reload": {"type": "list", "elements": "str", "default": []},
            "receivers": {"type": "list", "elements": "dict", "required": True},
            "routes": {"type": "dict", "required": True},
            "group_wait": {"type": "str", "default": "30s"},
            "group_interval": {"type": "str", "default": "5m"},
            "repeat_interval": {"type": "str", "default": "4h"},
        },
    },
    "adopt": {"type": "bool", "default": False},
    "ca_file": {"type": "path"},
    "promtool": {"type": "str", "default": "promtool"},
    "amtool": {"type": "str", "default": "amtool"},
    "group": {"type": "str"},
    "timeout": {"type": "int", "default": 30},
}

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Words that YAML takes for something else than text.
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}

_DIGEST = re.compile(r"\A# sha256: ([0-9a-f]{64})$", re.MULTILINE)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=True)


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                yield f"{indent}{_scalar(str(key))}:"
                yield from _lines(item, indent + "  ")
            else:
                yield f"{indent}{_scalar(str(key))}: {_scalar(item)}"
    else:
        for item in value:
            if isinstance(item, (dict, list)) and item:
                inner = list(_lines(item, indent + "  "))
                yield f"{indent}- {inner[0].lstrip()}"
                yield from inner[1:]
            else:
                yield f"{indent}- {_scalar(item)}"


def as_yaml(document: Dict[str, Any]) -> str:
    """A document as YAML, without PyYAML, which a host's Python may not have: texts as JSON writes them."""
    return "\n".join(_lines(document, "")) + "\n"


#: What files of ours say, whatever else becomes of them.
MARK = "Written by tradingflow.maintenance.monitoring_config."


#: A line of what files of ours begin with.
HEADER = re.compile(
    rf'# (sha256: [0-9a-f]{{64}}|{re.escape(MARK)} Environment: "[^"]*"\. Changes here are undone by its next run\.)'
)


def _header(environment: str) -> str:
    # As JSON: in one line, and no name is the beginning of another.
    return f"# {MARK} Environment: {json.dumps(environment)}. Changes here are undone by its next run."


def ours(text: str, environment: str) -> bool:
    """Whether a file was made for this environment, also when it was edited by hand since."""
    return _header(environment) in text.split("\n", 3)[:3]


def sealed(body: str, environment: str) -> str:
    """A file's text, with the digest of the rest in its first line: an edit by hand is seen by that."""
    rest = f"{_header(environment)}\n{body}"
    return f"# sha256: {hashlib.sha256(rest.encode()).hexdigest()}\n{rest}"


def edited(text: str) -> bool:
    """Whether a file is not as monitoring_config left it: changed by hand, or never its own."""
    found = _DIGEST.match(text)
    rest = text.split("\n", 1)[1] if "\n" in text else ""
    return not found or hashlib.sha256(rest.encode()).hexdigest() != found.group(1)
