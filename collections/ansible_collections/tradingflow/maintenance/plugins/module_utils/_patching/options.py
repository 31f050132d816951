# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of patching a host."""

from __future__ import annotations

from typing import Any, Dict

#: Whose versions are security updates; shell patterns, and what is left out is not asked.
SECURITY: Any = [{"origin": "Debian", "label": "Debian-Security"}, {"origin": "Ubuntu", "archive": "*-security"}]

#: Argument spec of the module host_patching, without "run".
SPEC: Dict[str, Any] = {
    "scope": {"type": "str", "default": "security", "choices": ["security", "all"]},
    "security_origins": {
        "type": "list",
        "elements": "dict",
        "default": SECURITY,
        "options": {name: {"type": "str"} for name in ("origin", "label", "archive", "codename")},
    },
    "packages": {"type": "list", "elements": "str", "default": []},
    "approved": {"type": "list", "elements": "str", "default": []},
    "expected_digest": {"type": "str"},
    "restart": {"type": "list", "elements": "str", "default": []},
    "needrestart": {"type": "bool", "default": True},
    "minimum_free": {"type": "int", "default": 536870912},
    "minimum_free_boot": {"type": "int", "default": 104857600},
    "clock_tolerance": {"type": "int", "default": 60},
    "conffiles": {"type": "str", "default": "keep", "choices": ["keep", "replace"]},
    "units": {"type": "list", "elements": "str", "default": []},
    "reboot": {"type": "str", "default": "never", "choices": ["never", "when_needed", "always"]},
    "rollback": {"type": "bool", "default": False},
    # As host_checks has it, with its defaults: the action's spec has the parts.
    "health": {"type": "dict"},
    "platform": {"type": "dict"},
    "state_directory": {"type": "path", "default": "/var/lib/tradingflow-maintenance"},
    # Not /tmp, which may live in memory; a private folder is made in it.
    "scratch_directory": {"type": "path", "default": "/var/tmp"},  # noqa: S108
}

#: Argument spec of the module host_patching_proof, without "run".
PROOF: Dict[str, Any] = {
    "rebooted": {"type": "bool", "default": False},
    "resume": {"type": "bool", "default": True},
    "close": {"type": "bool", "default": True},
    "way_back": {"type": "bool", "default": False},
    "health_wait": {"type": "int", "default": 120},
    **{name: SPEC[name] for name in ("needrestart", "clock_tolerance", "state_directory", "health")},
}
