# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a restore."""

from __future__ import annotations

from typing import Any, Dict, List

from .._ledger.spec import KEYS_SPEC
from ..database import DATABASE_SPEC
from ..storage import STORAGE_SPEC

#: What an operator can insist on, with a reason, and what for.
OVERRIDES = {
    "other_environment": "the recovery point is of another environment",
    "other_cluster": "the server is another than the recovery point's",
    "other_database": "the recovery point is of another database",
    "empty": "the recovery point holds no data",
    "parts_apart": "database and files are not of one recovery point any more",
    "incomplete": "indexes, keys, triggers and materialised views that cannot be made are left out",
    "siblings": "rows that were moved to other partitions since may be there twice",
    "source_functions": "functions of the source may run with a superuser's rights",
}


def parts_of(options: Dict[str, Any]) -> List[str]:
    """Which halves are restored: both, unless somebody says so; of a point in time only the database has it."""
    return options["parts"] or (["database"] if options["mode"] == "point_in_time" else ["database", "files"])


#: Argument spec of the module recovery_point_restore, without "run".
SPEC: Dict[str, Any] = {
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "environment_name": {"type": "str", "required": True},
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "reader": {
        "type": "dict",
        "options": {
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "no_log": True},
        },
    },
    "mode": {"type": "str", "default": "whole", "choices": ["whole", "tables", "point_in_time", "remove_old"]},
    "abandon": {"type": "bool", "default": False},
    "recovery_point": {"type": "str", "default": "newest"},
    "source_environment": {"type": "str"},
    "target_database": {"type": "str"},
    "parts": {"type": "list", "elements": "str", "choices": ["database", "files"], "default": []},
    "data_directory": {"type": "path"},
    "files_password": {"type": "str", "no_log": True},
    "tables": {"type": "list", "elements": "str", "default": []},
    "schemas": {"type": "list", "elements": "str", "default": []},
    "replace": {"type": "bool", "default": False},
    "target_type": {"type": "str", "default": "time", "choices": ["time", "latest", "lsn", "name"]},
    "target": {"type": "str"},
    "target_timeline": {"type": "str", "default": "auto"},
    "cluster": {
        "type": "dict",
        "options": {
            "data_directory": {"type": "path", "required": True},
            "config_file": {"type": "path"},
            "stop_command": {"type": "list", "elements": "str", "default": []},
            "start_command": {"type": "list", "elements": "str", "default": []},
            "command_directory": {"type": "path"},
            "start_timeout": {"type": "int", "default": 3600},
            "elsewhere": {"type": "bool", "default": False},
            "delta": {"type": "bool", "default": False},
            "tablespaces": {"type": "dict", "default": {}},
            "libraries": {"type": "list", "elements": "str", "default": []},
        },
    },
    "pgbackrest": {
        "type": "dict",
        "options": {
            "stanza": {"type": "str", "required": True},
            "config_file": {"type": "path", "default": "/etc/pgbackrest/pgbackrest.conf"},
            "program": {"type": "path"},
            "run_as": {"type": "str"},
            "repository": {"type": "int", "default": 1},
        },
    },
    "search_path": {"type": "list", "elements": "str", "default": []},
    "confirm": {"type": "str"},
    "reason": {"type": "str"},
    "overrides": {"type": "list", "elements": "str", "choices": list(OVERRIDES), "default": []},
    "system_identifier": {"type": "str"},
    "application": {
        "type": "dict",
        "options": {
            "urls": {"type": "list", "elements": "str", "default": []},
            "ca_file": {"type": "path"},
            "health_path": {"type": "str", "default": "/health"},
            "stopped_by_us": {"type": "bool", "default": False},
        },
    },
    "remove_old": {"type": "list", "elements": "str", "default": []},
    "pg_bin_dir": {"type": "path"},
    # Not /tmp, which may live in memory; a private folder is made in it.
    "scratch_directory": {"type": "path", "default": "/var/tmp"},  # noqa: S108
    "jobs": {"type": "int", "default": 2},
    "rto": {"type": "int", "default": 14400},
    "rpo": {"type": "int", "default": 3600},
    "evidence": {"type": "dict", "options": KEYS_SPEC},
}
