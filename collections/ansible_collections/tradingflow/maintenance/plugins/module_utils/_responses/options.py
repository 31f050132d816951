# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the look at the application."""

from __future__ import annotations

from typing import Any, Dict

from .._checks.usage import METRICS_SPEC, REQUESTS_SPEC
from ..checks import thresholds_spec
from ..database import DATABASE_SPEC

SPEC: Dict[str, Any] = {
    "urls": {"type": "list", "elements": "str", "required": True},
    "ca_file": {"type": "path"},
    **REQUESTS_SPEC,
    "metrics": {"type": "dict", "apply_defaults": True, "options": METRICS_SPEC},
    "minimum": {"type": "int", "default": 100},
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "timeout": {"type": "int", "default": 10},
    "thresholds": thresholds_spec(
        {
            "response_time_p50": (200, 1000),
            "response_time_p95": (500, 2500),
            "response_time_p99": (1000, 5000),
            "errors": (1, 5),
            "memory_growth": (10, 50),
            "pool_peak": (80, 100),
        }
    ),
}
