# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the tuning, as Ansible's argument spec, and what makes sense of them."""

from __future__ import annotations

from typing import Any, Dict

from ..checks import limits, thresholds_spec
from ..database import DATABASE_SPEC
from ..errors import ConfigurationError

SPEC: Dict[str, Any] = {
    "action": {"type": "str", "default": "analyse", "choices": ["analyse", "apply", "undo"]},
    "expected_digest": {"type": "str", "default": ""},
    "plans": {"type": "path"},
    "journal": {"type": "path"},
    "drop_indexes": {"type": "list", "elements": "str", "default": []},
    "extended_statistics": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "schema": {"type": "str", "default": "public"},
            "table": {"type": "str", "required": True},
            "columns": {"type": "list", "elements": "str", "required": True},
        },
    },
    "window_ends": {"type": "str", "default": ""},
    "free_bytes": {"type": "int", "default": 10_000_000_000},
    "disk_bytes": {"type": "int", "default": 0},
    "wal_disk_bytes": {"type": "int", "default": 0},
    "tablespace_bytes": {"type": "dict", "default": {}},
    "wal_bytes": {"type": "int", "default": 10_000_000_000},
    "lag_bytes": {"type": "int", "default": 100_000_000},
    "lag_wait": {"type": "int", "default": 300},
    "lock_timeout": {"type": "float", "default": 5.0},
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "apply_database": {"type": "dict", "options": DATABASE_SPEC},
    "replicas": {"type": "list", "elements": "dict", "default": [], "options": DATABASE_SPEC},
    "timeout": {"type": "int", "default": 60},
    "cycle_days": {"type": "int", "default": 92},
    "read_bytes": {"type": "int", "default": 10_000_000_000},
    "least_bytes": {"type": "int", "default": 10_000_000},
    "memory": {"type": "int", "default": 0},
    "pools": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "size": {"type": "int", "required": True},
            "replicas": {"type": "int", "default": 1},
        },
    },
    "search_path": {"type": "list", "elements": "str", "default": ["public"]},
    "statements": {"type": "int", "default": 20},
    "queries": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "sql": {"type": "str", "required": True},
            "analyze": {"type": "bool", "default": False},
        },
    },
    "thresholds": thresholds_spec(
        {
            "unused_indexes": (1, None),
            "duplicate_indexes": (1, None),
            "invalid_indexes": (1, None),
            "index_bloat": (50, None),
            "table_bloat": (50, None),
            "vacuum": (1, 10),
            "analyze": (1, None),
            "xid_age": (500_000_000, 1_000_000_000),
            "mxid_age": (500_000_000, 1_000_000_000),
            "sequences": (70, 90),
            "settings": (1, None),
            "pools": (80, 100),
            "statement_mean": (1000, None),
            "missing_indexes": (1, None),
        }
    ),
}


def checked(options: Dict[str, Any]) -> Dict[str, Any]:
    """The options, when they make sense.

    :raises ConfigurationError: they do not
    """
    for name in options["thresholds"]:
        limits(options["thresholds"], name)
    least_of = dict.fromkeys(("cycle_days", "read_bytes", "least_bytes", "memory", "free_bytes", "disk_bytes"), 0)
    for name, least in {
        **least_of,
        "wal_bytes": 0,
        "wal_disk_bytes": -1,
        "lag_bytes": 0,
        "lag_wait": 0,
        "statements": 1,
    }.items():
        if options[name] < least:
            raise ConfigurationError(f"The option {name} must be at least {least}, not {options[name]}.", "Correct it.")
    try:
        options["tablespace_bytes"] = {name: int(free) for name, free in options["tablespace_bytes"].items()}
    except (TypeError, ValueError):
        text = "The option tablespace_bytes has to name numbers of bytes."
        raise ConfigurationError(text, "Correct it.") from None
    for pool in options["pools"]:
        if pool["size"] < 1 or pool["replicas"] < 1:
            raise ConfigurationError(f"The pool {pool['name']} needs a size and replicas of at least 1.", "Correct it.")
    for kind in ("pools", "queries"):
        names = [one["name"] for one in options[kind]]
        if len(names) != len(set(names)):
            raise ConfigurationError(f"Two {kind} have the same name.", "Give each a name of its own.")
    if options["action"] != "analyse" and not (options["plans"] and options["journal"]):
        raise ConfigurationError(f"Action {options['action']} needs the options plans and journal.", "Set both.")
    # Whoever waits for a lock holds up all who come after; 0 would wait for ever.
    if not 0.1 <= options["lock_timeout"] <= 60:
        raise ConfigurationError("The option lock_timeout must be from 0.1 to 60 s.", "Correct it.")
    return options
