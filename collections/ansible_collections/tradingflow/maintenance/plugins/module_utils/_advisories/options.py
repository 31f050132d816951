# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that all have who ask for known vulnerabilities."""

from __future__ import annotations

from typing import Any, Dict

#: Old, withdrawn by nobody, and in every database that has anything at all. Of a distribution, for each release: their
#: advisories say that all versions before the fix are affected.
_CANARIES: Any = [
    {"ecosystem": "PyPI", "name": "jinja2", "version": "2.10", "advisory": "CVE-2019-10906"},
    {"ecosystem": "npm", "name": "minimist", "version": "0.0.8", "advisory": "GHSA-vh95-rmgr-6w4m"},
    {"ecosystem": "Debian", "name": "glibc", "version": "2.0-1", "advisory": "DEBIAN-CVE-2023-4911"},
    {"ecosystem": "Alpine", "name": "zlib", "version": "1.0-r0", "advisory": "ALPINE-CVE-2022-37434"},
]

CANARIES: Dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": _CANARIES,
    "options": {
        "ecosystem": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "advisory": {"type": "str", "required": True},
    },
}

ACCEPTED: Dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "advisory": {"type": "str", "required": True},
        "package": {"type": "str", "required": True},
        "until": {"type": "str", "required": True},
        "reason": {"type": "str", "required": True},
    },
}
