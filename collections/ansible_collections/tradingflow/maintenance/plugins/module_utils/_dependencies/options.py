# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of scanning dependencies."""

from __future__ import annotations

from typing import Any, Dict

from .._advisories.options import ACCEPTED, CANARIES

#: A scanner's name -> the program it is by default, and the formats of lock files it reads.
SCANNERS: Dict[str, Any] = {
    "osv-scanner": ("osv-scanner", ("requirements", "package-lock")),
    "pip-audit": ("pip-audit", ("requirements",)),
    "npm-audit": ("npm", ("package-lock",)),
}

#: Format of a lock file -> ecosystem, as OSV names it, and the file's name that scanners know it by.
FORMATS = {"requirements": ("PyPI", "requirements.txt"), "package-lock": ("npm", "package-lock.json")}

#: Argument spec of the module dependency_scan, without "run".
SPEC: Dict[str, Any] = {
    "scanner": {"type": "str", "default": "osv-scanner", "choices": sorted(SCANNERS)},
    "program": {"type": "path"},
    "sources": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "format": {"type": "str", "required": True, "choices": sorted(FORMATS)},
        },
    },
    "database": {"type": "path"},
    "database_age": {"type": "int", "default": 7},
    "service": {"type": "str"},
    "canaries": CANARIES,
    "accepted": ACCEPTED,
    "upgrade": {"type": "str", "default": "security", "choices": ["security", "all"]},
    "cooldown_days": {"type": "int", "default": 7},
    "index": {"type": "str"},
    "npm_registry": {"type": "str"},
    "proposals_directory": {"type": "path"},
    "timeout": {"type": "int", "default": 600},
}
