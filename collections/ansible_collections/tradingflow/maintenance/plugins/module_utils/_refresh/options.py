# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backtest refresh may be told."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Dict, List, Optional, Tuple

from .._isolation.cells import Limits
from ..checks import thresholds_spec
from ..database import DATABASE_SPEC
from ..errors import ConfigurationError
from ..words import printable

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,120}")
_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")

INSTRUMENT_SPEC: Dict[str, Any] = {
    "instrument": {"type": "str", "required": True},
    "from": {"type": "str"},
    "until": {"type": "str"},
}
ENGINE_SPEC: Dict[str, Any] = {
    "python": {"type": "path"},
    "paths": {"type": "list", "elements": "path", "default": []},
    "lock": {"type": "list", "elements": "path", "default": []},
}
STRATEGY_SPEC: Dict[str, Any] = {
    "strategy": {"type": "str", "required": True},
    "code": {"type": "path", "required": True},
    "command": {"type": "list", "elements": "str", "required": True},
    "engine": {"type": "dict", "options": ENGINE_SPEC},
    "image": {"type": "str"},
    "parameters": {"type": "dict", "default": {}},
    "instruments": {"type": "list", "elements": "dict", "required": True, "options": INSTRUMENT_SPEC},
    "from": {"type": "str", "required": True},
    "warm_up_days": {"type": "int", "default": 0},
    "capital": {"type": "str", "required": True},
    "currency": {"type": "str", "required": True},
    "calendar": {"type": "str", "required": True},
    "costs": {"type": "dict", "default": {}},
    "seed": {"type": "int", "default": 1},
    "trials": {"type": "int", "default": 1},
}
KUBERNETES_SPEC: Dict[str, Any] = {
    "namespace": {"type": "str", "required": True},
    "claim": {"type": "str", "required": True},
    "parallelism": {"type": "int", "default": 10},
    "max_failed": {"type": "int", "default": 5},
}

SPEC: Dict[str, Any] = {
    "database": {"type": "dict", "required": True, "options": DATABASE_SPEC},
    "timeout": {"type": "int", "default": 600},
    "strategies": {"type": "list", "elements": "dict", "default": [], "options": STRATEGY_SPEC},
    "directory": {"type": "path", "required": True},
    "until": {"type": "str"},
    "calendars": {"type": "dict", "default": {}},
    "cuts": {"type": "int", "default": 3},
    "workers": {"type": "int", "default": 0},
    "retries": {"type": "int", "default": 1},
    "seconds": {"type": "int", "default": 3600},
    "memory_mb": {"type": "int", "default": 2048},
    "scratch_mb": {"type": "int", "default": 256},
    "processes": {"type": "int", "default": 64},
    "confidence": {"type": "float", "default": 0.95},
    "minimum_sessions": {"type": "int", "default": 60},
    "kubernetes": {"type": "dict", "options": KUBERNETES_SPEC},
    "thresholds": thresholds_spec(
        {
            "sharpe": (0, None),
            "pbo": (20, 50),
            "warm_up": (0.1, None),
            "books": (0.1, 1),
            "fill_prices": (0.1, None),
            "change": (1, 10),
        }
    ),
}


@dataclass(frozen=True)
class Instrument:
    """An instrument, and the days of which it is in the universe: first and last included, None for open."""

    name: str
    first: Optional[date] = None
    last: Optional[date] = None


@dataclass(frozen=True)
class Strategy:
    """A strategy as it is to be refreshed.

    :param code: absolute path of a file or a folder
    :param python: absolute path of the interpreter of its engine, empty for a program of its own
    :param paths: what its engine consists of besides, absolute
    :param lock: files that name its engine's versions, absolute
    """

    name: str
    code: str
    command: Tuple[str, ...]
    python: str
    paths: Tuple[str, ...]
    lock: Tuple[str, ...]
    image: str
    parameters: Dict[str, Any]
    instruments: Tuple[Instrument, ...]
    first: date
    warm_up: int
    capital: Decimal
    currency: str
    calendar: str
    costs: Dict[str, Any]
    seed: int
    trials: int


@dataclass(frozen=True)
class Settings:
    """What holds for all of them.

    :param until: the last day, None for the last that is over
    :param workers: backtests at a time
    """

    strategies: Tuple[Strategy, ...]
    directory: str
    until: Optional[date]
    calendars: Dict[str, Any]
    cuts: int
    workers: int
    retries: int
    limits: Limits
    confidence: float
    minimum: int
    kubernetes: Optional[Dict[str, Any]]
    thresholds: Dict[str, Any] = field(default_factory=dict)


def checked(options: Dict[str, Any], python: str) -> Settings:
    """Options that the argument spec cannot judge.

    :param python: the interpreter of engines that name none
    :raises ConfigurationError: they make no sense
    """
    for name, least in (
        *(("timeout", 1), ("cuts", 1), ("workers", 0), ("retries", 0), ("seconds", 1)),
        *(("memory_mb", 32), ("scratch_mb", 1), ("processes", 1), ("minimum_sessions", 20)),
    ):
        if options[name] < least:
            raise ConfigurationError(f"The option {name} is below {least}.", f"Raise backtest_refresh_{name}.")
    if not 0.5 <= options["confidence"] < 1:
        raise ConfigurationError("The confidence is not from 0.5 to below 1.", "Set it as 0.95.")
    strategies = [_strategy(each, python) for each in options["strategies"]]
    names = [one.name for one in strategies]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"The strategy {printable(name)} is there twice.", "Remove one of them.")
    if options["kubernetes"]:
        for name in ("parallelism", "max_failed"):
            if options["kubernetes"][name] < 1:
                raise ConfigurationError(f"{name} of the Job is below 1.", "Correct backtest_refresh_kubernetes.")
        for one in strategies:
            if not _DIGEST.fullmatch(one.image):
                raise ConfigurationError(
                    f"The image of {printable(one.name)} is not named by its digest.",
                    "Set image as NAME@sha256:DIGEST, or leave out backtest_refresh_kubernetes.",
                )
    limits = Limits(
        seconds=options["seconds"],
        cpu=options["seconds"],
        memory=options["memory_mb"] << 20,
        scratch=options["scratch_mb"] << 20,
        processes=options["processes"],
        output=min(options["scratch_mb"] << 20, Limits.output),
    )
    return Settings(
        tuple(strategies),
        os.path.abspath(options["directory"]),
        _day(options["until"], "backtest_refresh_until") if options["until"] else None,
        options["calendars"],
        options["cuts"],
        options["workers"] or len(os.sched_getaffinity(0)),
        options["retries"],
        limits,
        options["confidence"],
        options["minimum_sessions"],
        options["kubernetes"],
        options["thresholds"],
    )


def _day(text: str, what: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{what} is no day: {printable(text, 40)}.", "Write it as YYYY-MM-DD.") from None


def _strategy(given: Dict[str, Any], python: str) -> Strategy:
    name = given["strategy"]
    shown = printable(name)
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{shown} is no name of a strategy.", "Give it 1 to 120 printable characters.")
    try:
        capital = Decimal(given["capital"])
    except InvalidOperation:
        capital = Decimal("NaN")
    if not capital.is_finite() or capital <= 0:
        raise ConfigurationError(f"The capital of {shown} is not a number above 0.", "Write it as 1000000.")
    if not given["command"]:
        raise ConfigurationError(f"{shown} has no command.", 'Write it as ["{python}", "{code}/strategy.py"].')
    if given["warm_up_days"] < 0 or given["trials"] < 1:
        raise ConfigurationError(f"warm_up_days or trials of {shown} make no sense.", "Give 0 or more, and 1 or more.")
    for cost, value in given["costs"].items():
        if isinstance(value, bool) or not _number(value):
            raise ConfigurationError(f"The cost {printable(cost, 40)} of {shown} is no number.", "Correct it.")
    engine = given["engine"] or {"python": None, "paths": [], "lock": []}
    if not given["instruments"]:
        raise ConfigurationError(f"{shown} has no instrument.", "Name those that it may trade.")
    try:
        json.dumps(given["parameters"], sort_keys=True, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"The parameters of {shown} are no JSON.", "Write days as text, and no .inf or .nan."
        ) from None
    return Strategy(
        name,
        os.path.abspath(given["code"]),
        tuple(given["command"]),
        engine["python"] or python,
        tuple(os.path.abspath(path) for path in engine["paths"]),
        tuple(os.path.abspath(path) for path in engine["lock"]),
        given["image"] or "",
        given["parameters"],
        _instruments(given["instruments"], shown),
        _day(given["from"], f"from of {shown}"),
        given["warm_up_days"],
        capital,
        given["currency"],
        given["calendar"],
        given["costs"],
        given["seed"],
        given["trials"],
    )


def _number(value: Any) -> bool:
    try:
        return Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False


def _instruments(given: List[Dict[str, Any]], shown: str) -> Tuple[Instrument, ...]:
    """Sorted by name and day. One that left and came back is there twice."""
    found = []
    for each in given:
        first, last = (
            _day(each[key], f"{key} of {printable(each['instrument'], 40)}, {shown},") if each[key] else None
            for key in ("from", "until")
        )
        found.append(Instrument(each["instrument"], first, last))
    found.sort(key=lambda one: (one.name, one.first or date.min))
    for one, after in zip(found, found[1:]):  # noqa: B905, RUF007 - Python 3.9
        if one.name == after.name and (one.last is None or after.first is None or after.first <= one.last):
            raise ConfigurationError(
                f"{shown} has {printable(one.name, 40)} twice for the same days.", "Correct from and until."
            )
    return tuple(found)
