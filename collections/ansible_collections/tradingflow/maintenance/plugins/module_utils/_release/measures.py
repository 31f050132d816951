# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of what is measured of a release's pods, and of what it may be."""

from __future__ import annotations

from typing import Any, Dict

from .._checks.usage import METRICS_SPEC, REQUESTS_SPEC
from .samples import MEASURES

#: A measure may be as much as the factor times the previous version's, and as the floor in any case; never more than
#: the ceiling, where there is one.
LIMITS_SPEC: Dict[str, Any] = {
    name: {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "factor": {"type": "float", "default": factor},
            "floor": {"type": "float", "default": floor},
            "ceiling": {"type": "float"} if ceiling is None else {"type": "float", "default": ceiling},
        },
    }
    for name, factor, floor, ceiling in (
        ("errors", 2.0, 0.5, 5.0),  # percent of requests answered by 5xx
        ("latency", 1.5, 250.0, 2500.0),  # p95 in ms
        ("memory", 1.5, 64e6, None),  # bytes resident, of the pod with the most
    )
}
_METRICS = {name: METRICS_SPEC[name] for name in ("memory", "requests", "status_labels")}

#: Argument spec of the option "analysis" of a release, a soak and a promotion.
SPEC: Dict[str, Any] = {
    **REQUESTS_SPEC,
    "metrics": {"type": "dict", "apply_defaults": True, "options": _METRICS},
    "measures": {"type": "list", "elements": "str", "choices": list(MEASURES), "default": list(MEASURES)},
    "limits": {"type": "dict", "apply_defaults": True, "options": LIMITS_SPEC},
    "minimum": {"type": "int", "default": 20},
    "restarts": {"type": "int", "default": 0},
    "new_error_lines": {"type": "int", "default": 10},
    "known_errors": {"type": "list", "elements": "str", "default": []},
}
#: The option itself.
ANALYSIS_SPEC: Dict[str, Any] = {"type": "dict", "apply_defaults": True, "options": SPEC}
