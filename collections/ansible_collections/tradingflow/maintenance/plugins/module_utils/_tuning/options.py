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
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
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
        "options": {"name": {"type": "str", "required": True}, "sql": {"type": "str", "required": True}},
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
    for name, least in (("cycle_days", 0), ("read_bytes", 0), ("least_bytes", 0), ("memory", 0), ("statements", 1)):
        if options[name] < least:
            raise ConfigurationError(f"The option {name} must be at least {least}, not {options[name]}.", "Correct it.")
    for pool in options["pools"]:
        if pool["size"] < 1 or pool["replicas"] < 1:
            raise ConfigurationError(f"The pool {pool['name']} needs a size and replicas of at least 1.", "Correct it.")
    for kind in ("pools", "queries"):
        names = [one["name"] for one in options[kind]]
        if len(names) != len(set(names)):
            raise ConfigurationError(f"Two {kind} have the same name.", "Give each a name of its own.")
    return options
