# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Contract 1, a check: one measured fact with its judgement (schema: schemas/check-1.json)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Dict, Iterable, List, Optional, Tuple, Union

from .errors import ConfigurationError
from .masking import masked_data

OK = "ok"
WARNING = "warning"
UNKNOWN = "unknown"
CRITICAL = "critical"

#: From best to worst. Unknown is worse than a warning: nobody knows how bad it is.
STATUSES = (OK, WARNING, UNKNOWN, CRITICAL)

Number = Union[int, float, Decimal]


def utc_now() -> str:
    """Now in UTC as RFC 3339 with seconds, e.g. 2026-11-23T20:40:30Z."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def worst(statuses: Iterable[str]) -> str:
    """The worst of some statuses. Nothing measured is unknown, never ok."""
    ranks = [STATUSES.index(status) for status in statuses]
    return STATUSES[max(ranks)] if ranks else UNKNOWN


def fails(status: str, fail_on: str) -> bool:
    """Whether a run of this worst status must end as a failure.

    :param fail_on: warning, critical or never. What is unknown fails in both of the first two:
        a gate that could not be measured is not passed.
    """
    if fail_on == "never" or status == OK:
        return False
    return status in (UNKNOWN, CRITICAL) or fail_on == WARNING


@dataclass
class Check:
    """One check.

    :param id: area.name or area.name:instance, stable over runs, e.g. system.disk_space:/var
    :param title: short, for people
    :param status: ok, warning, unknown or critical
    :param value: what was measured; None when nothing was. Decimal becomes a string, so that no digit is lost
    :param unit: unit of value and thresholds, e.g. %, s, bytes; empty for counts and states
    :param warning: threshold of warning as people read it, None when there is none
    :param critical: threshold of critical, likewise
    :param message: the finding in one sentence
    :param remedy: what to do next; empty when ok
    :param source: what was read, e.g. /proc/meminfo or view maintenance.strategies
    :param observed_at: when, RFC 3339 UTC
    :param details: evidence behind the value, small, no secrets
    """

    id: str
    title: str
    status: str
    value: Any = None
    unit: str = ""
    warning: Any = None
    critical: Any = None
    message: str = ""
    remedy: str = ""
    source: str = ""
    observed_at: str = field(default_factory=utc_now)
    details: Dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status of {self.id} must be one of {STATUSES}, not {self.status!r}")
        if self.status == OK and self.value is None:
            raise ValueError(f"{self.id} is ok without a value: what was not measured is unknown")

    def as_dict(self) -> Dict[str, Any]:
        """The check as JSON data, Decimal as strings, secrets in what came from outside masked."""
        result: Dict[str, Any] = plain(asdict(self))
        for key in ("value", "message", "remedy", "source", "details"):
            result[key] = masked_data(result[key])
        return result


def plain(value: Any) -> Any:
    """Value as JSON data: Decimal and datetime become strings, NaN and infinities become strings too."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)


def unknown(id: str, title: str, message: str, remedy: str = "", **kwargs: Any) -> Check:
    """A check that could not be measured."""
    return Check(id, title, UNKNOWN, None, message=message, remedy=remedy, **kwargs)


def judge(
    id: str,
    title: str,
    value: Optional[Number],
    *,
    warning: Optional[Number],
    critical: Optional[Number],
    message: str,
    remedy: str = "",
    below: bool = False,
    **kwargs: Any,
) -> Check:
    """A check of a number against thresholds: bad from the threshold on, upwards, or downwards with below.

    A value of None or NaN is unknown. A threshold of None is not applied.
    """
    if value is None or math.isnan(value):
        return unknown(
            id, title, f"{title}: no value was measured", remedy, warning=warning, critical=critical, **kwargs
        )

    def reached(threshold: Optional[Number]) -> bool:
        if threshold is None or value is None:
            return False
        return value <= threshold if below else value >= threshold

    status = CRITICAL if reached(critical) else WARNING if reached(warning) else OK
    return Check(
        id,
        title,
        status,
        value,
        warning=warning,
        critical=critical,
        message=message,
        remedy="" if status == OK else remedy,
        **kwargs,
    )


def as_dicts(checks: Iterable[Check]) -> List[Dict[str, Any]]:
    """Checks as JSON data."""
    return [check.as_dict() for check in checks]


#: Name of a threshold -> (warning, critical); None for none.
Defaults = Dict[str, Tuple[Optional[float], Optional[float]]]


def thresholds_spec(defaults: Defaults) -> Dict[str, Any]:
    """Argument spec of an option "thresholds": {name: {warning, critical}}; what is left out has its default."""
    return {
        "type": "dict",
        "apply_defaults": True,
        "options": {name: limit_spec(warning, critical) for name, (warning, critical) in defaults.items()},
    }


def limit_spec(warning: Optional[float] = None, critical: Optional[float] = None) -> Dict[str, Any]:
    """Argument spec of one threshold."""
    pair = {"warning": warning, "critical": critical}
    options = {
        key: {"type": "float"} if value is None else {"type": "float", "default": value} for key, value in pair.items()
    }
    return {"type": "dict", "apply_defaults": True, "options": options}


def limits(thresholds: Dict[str, Any], name: str) -> Dict[str, Any]:
    """One threshold as keyword arguments of judge(): {"warning": ..., "critical": ...}, whole numbers as int.

    Infinity (.inf in YAML) means that there is no threshold.

    :raises ConfigurationError: NaN, which no value would ever reach
    """
    limit = thresholds.get(name) or {}
    result: Dict[str, Any] = {}
    for key in ("warning", "critical"):
        value = limit.get(key)
        if value is not None and math.isnan(value):
            raise ConfigurationError(
                f"The threshold {name}.{key} is not a number: {value}.", "Set a number, or .inf for no threshold."
            )
        if value is None or math.isinf(value):
            result[key] = None
        else:
            result[key] = int(value) if value == int(value) else value
    return result


def as_action(
    id: str, title: str, status: str, changed: bool, message: str, started_at: str, details: Dict[str, Any]
) -> Dict[str, Any]:
    """What was done and has just ended, as the report shows it: see run.write_spool.

    :param status: ok, failed, skipped or planned
    """
    return {
        "id": id,
        "title": title,
        "status": status,
        "changed": changed,
        "message": message,
        "started_at": started_at,
        "finished_at": utc_now(),
        "details": details,
    }
