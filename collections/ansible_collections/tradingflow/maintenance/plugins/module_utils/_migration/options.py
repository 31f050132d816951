# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a migration."""

from __future__ import annotations

from typing import Any, Dict

from .._ledger.spec import KEYS_SPEC
from ..database import DATABASE_SPEC
from ..storage import STORAGE_SPEC

#: Argument spec of the module schema_migration, without "run".
SPEC: Dict[str, Any] = {
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "environment_name": {"type": "str", "required": True},
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "project": {
        "type": "dict",
        "required": True,
        "options": {
            "config": {"type": "path", "required": True},
            "section": {"type": "str", "default": "alembic"},
            "directory": {"type": "path"},
            "python": {"type": "path"},
            "environment": {"type": "dict", "default": {}},
            "settings": {"type": "dict", "default": {}},
        },
    },
    "target": {"type": "str", "default": "head"},
    "expected_digest": {"type": "str"},
    "recovery_point_age": {"type": "int", "default": 3600},
    "lock_wait": {"type": "int", "default": 30},
    "lock_timeout": {"type": "float", "default": 1.0},
    "blocker_wait": {"type": "float", "default": 120.0},
    "statement_timeout": {"type": "float", "default": 300.0},
    "concurrent_deadline": {"type": "float", "default": 14400.0},
    "attempts": {"type": "int", "default": 10},
    "window_ends": {"type": "str"},
    "retry_pause": {"type": "float", "default": 2.0},
    "digests": {"type": "str", "default": "full", "choices": ["full", "none"]},
    "jobs": {"type": "int", "default": 2},
    "review": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "small_bytes": {"type": "int", "default": 10485760},
            "large_bytes": {"type": "int", "default": 1073741824},
            "busy_writes": {"type": "float", "default": 10.0},
            "long_transaction": {"type": "float", "default": 60.0},
        },
    },
    "accepted": {"type": "list", "elements": "str", "default": []},
    "reason": {"type": "str"},
    "evidence": {"type": "dict", "options": KEYS_SPEC},
    "requires": {
        "type": "dict",
        "options": {
            "rehearsal": {"type": "bool", "default": False},
            "environment": {
                "type": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "storage": {"type": "dict", "options": STORAGE_SPEC},
                    "trusted_key_files": KEYS_SPEC["trusted_key_files"],
                },
            },
        },
    },
    "overrides": {"type": "list", "elements": "str", "default": [], "choices": ["environment", "rehearsal"]},
    # Not /tmp, which may live in memory; a private folder is made in it.
    "running_version": {"type": "str"},
    "contract_versions": {"type": "list", "elements": "str", "default": []},
    "verify": {"type": "str", "default": "full", "choices": ["full", "none"]},
    "pg_bin_dir": {"type": "path"},
    "run_as": {"type": "str"},
    "scratch_directory": {"type": "path", "default": "/var/tmp"},  # noqa: S108
}
#: What a rehearsal needs to know besides, see the module restore_drill.
REHEARSAL_SPEC: Dict[str, Any] = {
    "project": SPEC["project"],
    "user": {"type": "str", "required": True},
    **{
        name: SPEC[name]
        for name in (
            *("target", "lock_timeout", "blocker_wait", "statement_timeout", "concurrent_deadline", "attempts"),
            "retry_pause",
        )
    },
    "load_sessions": {"type": "int", "default": 4},
    "load_statements": {"type": "list", "elements": "str", "default": []},
}
