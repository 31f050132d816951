# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of housekeeping on a host."""

from __future__ import annotations

from typing import Any, Dict

#: One directory of temporary files.
DIRECTORY: Dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "days": {"type": "float", "default": 10},
    "quarantine_days": {"type": "float", "default": 0},
    "owners": {"type": "list", "elements": "str", "default": []},
    "names": {"type": "list", "elements": "str", "default": ["*"]},
    "keep": {"type": "list", "elements": "str", "default": []},
    "reads": {"type": "bool", "default": True},
}

#: Argument spec of the module host_housekeeping, without "run".
SPEC: Dict[str, Any] = {
    "temporary": {"type": "list", "elements": "dict", "default": [], "options": DIRECTORY},
    "maximum": {"type": "int", "default": 5000},
    "look_at": {"type": "int", "default": 2000000},
    "approved": {"type": "list", "elements": "str", "default": []},
    "planned": {"type": "list", "elements": "str", "default": []},
}
