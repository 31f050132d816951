# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the bundle."""

from __future__ import annotations

from typing import Any, Dict

from .._ledger.spec import KEYS_SPEC
from ..storage import STORAGE_SPEC

PREPARED, SEALED = "prepared", "sealed"
#: What of the runner's side is not a host's: the database, the ledger.
PLATFORM = "_platform"

#: The keys, and how what they sign is locked.
EVIDENCE: Dict[str, Any] = {
    **KEYS_SPEC,
    "lock_mode": {"type": "str", "default": "governance", "choices": ["none", "governance", "compliance"]},
    "lock_days": {"type": "int", "default": 2557},
}

#: A rule of redaction, see rules.py.
RULE: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "pattern": {"type": "str"},
    "fields": {"type": "list", "elements": "str"},
    "action": {"type": "str", "default": "mask", "choices": ["mask", "pseudonym"]},
}

SPEC: Dict[str, Any] = {
    "state": {"type": "str", "required": True, "choices": [PREPARED, SEALED]},
    "storage": {"type": "dict", "required": True, "options": STORAGE_SPEC},
    "environment_name": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "plans": {"type": "dict", "default": {}},
    "begin": {"type": "str", "default": ""},
    "end": {"type": "str", "default": ""},
    "month": {"type": "str", "default": ""},
    "timezone": {"type": "str", "default": "UTC"},
    "again": {"type": "bool", "default": False},
    "scratch_limit": {"type": "int", "default": 0},
    "redaction": {"type": "list", "elements": "dict", "default": [], "options": RULE},
    "pseudonym_key": {"type": "str", "no_log": True},
    "evidence": {
        "type": "dict",
        "required": True,
        "options": EVIDENCE,
    },
    "retention": {
        "type": "dict",
        "default": {},
        "options": {
            "class": {"type": "str", "default": "trading-records"},
            "days": {"type": "int", "default": 2557},
        },
        "apply_defaults": True,
    },
    "legal_hold": {"type": "bool", "default": False},
    "timestamp": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "ca_files": {"type": "list", "elements": "path", "required": True},
            "timeout": {"type": "int", "default": 30},
        },
    },
    "witness": {"type": "path"},
}
