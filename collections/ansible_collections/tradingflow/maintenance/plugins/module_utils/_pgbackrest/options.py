# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of pgBackRest in the module recovery_point."""

from __future__ import annotations

from typing import Any, Dict

PGBACKREST_SPEC: Dict[str, Any] = {
    "stanza": {"type": "str", "required": True},
    "config_file": {"type": "path", "default": "/etc/pgbackrest/pgbackrest.conf"},
    "program": {"type": "path"},
    "run_as": {"type": "str"},
    "repository": {"type": "int", "default": 1},
    "type": {"type": "str", "default": "auto", "choices": ["auto", "full", "diff", "incr"]},
    "wait_for_wal": {"type": "int", "default": 120},
}
