# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of scanning dependencies."""

from __future__ import annotations

from typing import Any, Dict

#: A scanner's name -> the program it is by default, and the formats of lock files it reads.
SCANNERS: Dict[str, Any] = {
    "osv-scanner": ("osv-scanner", ("requirements", "package-lock")),
    "pip-audit": ("pip-audit", ("requirements",)),
    "npm-audit": ("npm", ("package-lock",)),
}

#: Format of a lock file -> ecosystem, as OSV names it, and the file's name that scanners know it by.
FORMATS = {"requirements": ("PyPI", "requirements.txt"), "package-lock": ("npm", "package-lock.json")}

#: Old, withdrawn by nobody, and in every database that has anything at all.
CANARIES: Any = [
    {"ecosystem": "PyPI", "name": "jinja2", "version": "2.10", "advisory": "CVE-2019-10906"},
    {"ecosystem": "npm", "name": "minimist", "version": "0.0.8", "advisory": "GHSA-vh95-rmgr-6w4m"},
]

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
    "canaries": {
        "type": "list",
        "elements": "dict",
        "default": CANARIES,
        "options": {
            "ecosystem": {
                "type": "str",
                "required": True,
                "choices": sorted({name for name, _file in FORMATS.values()}),
            },
            "name": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "advisory": {"type": "str", "required": True},
        },
    },
    "accepted": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "advisory": {"type": "str", "required": True},
            "package": {"type": "str", "required": True},
            "until": {"type": "str", "required": True},
            "reason": {"type": "str", "required": True},
        },
    },
    "upgrade": {"type": "str", "default": "security", "choices": ["security", "all"]},
    "cooldown_days": {"type": "int", "default": 7},
    "index": {"type": "str"},
    "proposals_directory": {"type": "path"},
    "timeout": {"type": "int", "default": 600},
}
