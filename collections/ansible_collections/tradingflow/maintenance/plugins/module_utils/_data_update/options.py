# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a data update, and what a declared change consists of (schemas/data-update-1.json)."""

from __future__ import annotations

import re
from typing import Any, Dict

from .._ledger.spec import KEYS_SPEC
from ..database import DATABASE_SPEC
from ..errors import ConfigurationError
from ..storage import STORAGE_SPEC

RUN, UNDO, PURGE = "run", "undo", "purge"

CHANGE_SPEC: Dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "reason": {"type": "str", "required": True},
    "schema": {"type": "str", "default": "public"},
    "table": {"type": "str", "required": True},
    "predicate": {"type": "str", "required": True},
    "set": {"type": "dict", "required": True},
    "expected": {
        "type": "dict",
        "required": True,
        "options": {"min": {"type": "int", "required": True}, "max": {"type": "int", "required": True}},
    },
    "whole_table": {"type": "bool", "default": False},
    "check": {"type": "str"},
    "invariants": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "sql": {"type": "str", "required": True},
            "equals": {"type": "str"},
            "each_batch": {"type": "bool", "default": False},
        },
    },
    "volatile": {"type": "list", "elements": "str", "default": []},
    "triggers": {"type": "list", "elements": "str", "default": []},
    "batch_rows": {"type": "int", "default": 10000},
    "sample_rows": {"type": "int", "default": 5},
    "throttle": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "pause": {"type": "float", "default": 0.0},
            "replication_lag": {"type": "float", "default": 10.0},
            "wal_rate": {"type": "int", "default": 0},
            "lock_waiters": {"type": "int", "default": 0},
            "autovacuum": {"type": "bool", "default": True},
            "patience": {"type": "float", "default": 3600.0},
        },
    },
}

#: Argument spec of the module data_update, without "run".
SPEC: Dict[str, Any] = {
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "environment_name": {"type": "str", "required": True},
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "role": {"type": "str"},
    "change": {"type": "dict", "required": True, "options": CHANGE_SPEC},
    "action": {"type": "str", "default": RUN, "choices": [RUN, UNDO, PURGE]},
    "expected_digest": {"type": "str"},
    "purge_before": {"type": "str"},
    "purge_days": {"type": "int", "default": 30},
    "recovery_point_age": {"type": "int", "default": 3600},
    "lock_timeout": {"type": "float", "default": 2.0},
    "statement_timeout": {"type": "float", "default": 300.0},
    "attempts": {"type": "int", "default": 10},
    "window_ends": {"type": "str"},
    "retry_pause": {"type": "float", "default": 1.0},
    "evidence": {"type": "dict", "options": KEYS_SPEC},
    # Not /tmp, which may live in memory; a private folder is made in it.
    "scratch_directory": {"type": "path", "default": "/var/tmp"},  # noqa: S108
}

_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


def checked(options: Dict[str, Any]) -> None:
    """Raises ConfigurationError for what no type can tell."""
    change = options["change"]

    def refuse(message: str, remedy: str) -> None:
        raise ConfigurationError(message, remedy)

    if not _ID.fullmatch(change["id"]):
        refuse(f"{change['id']!r} is no id of a change.", "Use small letters, digits, and . _ - between them.")
    if not change["reason"].strip():
        refuse("The change has no reason.", "Say in the change's reason why it is made. It goes on the record.")
    if not change["set"]:
        refuse("The change sets no column.", "Name the columns in the change's set.")
    expected = change["expected"]
    if not 0 <= expected["min"] <= expected["max"]:
        refuse("The change's expected count has no sense.", "Give min and max, with 0 <= min <= max.")
    for name, least in (("batch_rows", 1), ("sample_rows", 0)):
        if change[name] < least:
            refuse(f"The change's {name} is {change[name]}.", f"Set at least {least}.")
    for name, limit in change["throttle"].items():
        if isinstance(limit, (int, float)) and not 0 <= limit < 10**15:
            refuse(f"The change's throttle.{name} is {limit}.", "Set a number of at least 0.")
    names = [each["name"] for each in change["invariants"]]
    if len(set(names)) < len(names):
        refuse("Two invariants of the change have the same name.", "Give each a name of its own.")
    for name in ("lock_timeout", "statement_timeout"):
        if not 0.001 <= options[name] <= 2_000_000:
            refuse(
                f"data_update_{name} is {options[name]}: without a limit, it waits for ever.",
                f"Set data_update_{name} to a number of seconds.",
            )
    if options["purge_days"] < 0:
        refuse(f"data_update_purge_days is {options['purge_days']}.", "Set a number of days.")
    if options["attempts"] < 1:
        refuse("data_update_attempts is less than 1.", "Set at least 1.")
