# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the monitoring goes by: thresholds of the checks, as their own options have them, defaults and all."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail

from ..module_utils._checks.application import APPLICATION_SPEC
from ..module_utils._checks.database import CHECKS_SPEC
from ..module_utils._checks.system import SYSTEM_SPEC
from ..module_utils._monitoring.rules import SELECTORS
from .options import as_another

#: What a rule calls its metrics, beyond those that the checks of the application name.
METRICS = {"duration": "tradingflow_http_request_duration_seconds"}
#: Those that the checks name, the first of each list: what rules call it, and what the checks do.
CHECKED = {
    "requests": "requests",
    "status_label": "status_labels",
    "pool_in_use": "pool_in_use",
    "pool_size": "pool_size",
}


def complete(args: dict[str, Any]) -> dict[str, Any]:
    """The options with every threshold that the checks would have, from the same specs.

    :raises AnsibleActionFail: a threshold is none that the checks know
    """
    result = dict(args)
    result["targets"] = [
        {"name": target["name"], **_of("targets", SYSTEM_SPEC, target, "thresholds", "mounts")}
        for target in args["targets"] or []
    ]
    spec = {"thresholds": APPLICATION_SPEC["thresholds"], "metrics": APPLICATION_SPEC["metrics"]}
    checked = as_another("application", args["application"], spec) or {}
    result["application"] = checked["thresholds"]
    found = {name: next(iter(checked["metrics"][theirs]), "") for name, theirs in CHECKED.items()}
    result["metrics"] = _known("metrics", {**METRICS, **found}, args["metrics"])
    spec = {"thresholds": CHECKS_SPEC["thresholds"]}
    result["database"] = (as_another("database", args["database"], spec) or {})["thresholds"]
    result["selectors"] = _known("selectors", SELECTORS, args["selectors"])
    return result


def _of(name: str, spec: dict[str, Any], given: dict[str, Any], *keys: str) -> dict[str, Any]:
    found = as_another(name, {key: given[key] for key in keys if given.get(key)}, {key: spec[key] for key in keys})
    return found or {}


def _known(name: str, known: dict[str, str], given: dict[str, Any]) -> dict[str, str]:
    strange = sorted(set(given) - set(known))
    if strange:
        raise AnsibleActionFail(f"{name}: {strange[0]} is none; there are {', '.join(sorted(known))}.")
    return {**known, **{key: str(value) for key, value in given.items()}}
