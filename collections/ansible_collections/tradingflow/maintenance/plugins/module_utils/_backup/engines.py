# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup's engines by name: each plans and makes recovery points."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Dict

from . import engine, physical

ENGINES: Dict[str, ModuleType] = {"logical": engine, "pgbackrest": physical}


def of(options: Dict[str, Any]) -> Any:
    """The engine that is asked for: plan(options) and create(options, progress)."""
    return ENGINES[options["engine"]]
