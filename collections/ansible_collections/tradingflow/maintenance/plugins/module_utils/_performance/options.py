# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of all that reads the books: what is read of them, and by which rates."""

from __future__ import annotations

from typing import Any, Dict

from ..database import DATABASE_SPEC

SPEC: Dict[str, Any] = {
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "timeout": {"type": "int", "default": 120},
    "days": {"type": "int", "default": 1826},
    "calendars": {"type": "dict", "default": {}},
    "currency": {"type": "str"},
    "rates": {"type": "dict", "default": {}},
    "rate_age": {"type": "int", "default": 96},
    "tolerance": {"type": "str", "default": "0"},
}
