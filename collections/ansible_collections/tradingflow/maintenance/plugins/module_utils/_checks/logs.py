# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area logs: what a host's logs say, judged against limits and against what they said before.

The module reads on the host (_logs); judged is on the controller, where the earlier reports are.
"""

from __future__ import annotations

import json
import statistics
from datetime import datetime, timedelta
from typing import Any, Dict, Iterator, List, Optional

from .._logs.entries import LEVELS, UNKNOWN_LEVEL
from .._logs.reading import SINCE, stamp
from ..checks import OK, UNKNOWN, Check, judge, limit_spec, limits, thresholds_spec, unknown
from ..errors import ConfigurationError
from ..words import plural, printable, size, span

LOGS_SPEC: Dict[str, Any] = {
    "sources": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "kind": {"type": "str", "default": "file", "choices": ["file", "journal", "container"]},
            "path": {"type": "str", "default": ""},
            "unit": {"type": "str", "default": ""},
            "container": {"type": "str", "default": ""},
            "runtime": {"type": "str", "default": "docker", "choices": ["docker", "podman", "crictl"]},
            "format": {"type": "str", "default": "auto", "choices": ["auto", "json", "logfmt", "text"]},
            "level_pattern": {"type": "str", "default": ""},
            "levels": {"type": "dict", "default": {}},
            "time_pattern": {"type": "str", "default": ""},
            "time_format": {"type": "str", "default": ""},
            "time_zone": {"type": "str", "default": "local"},
            "since": {"type": "str", "default": ""},
            "quiet_ok": {"type": "bool", "default": False},
            "fresh_ok": {"type": "bool", "default": False},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "max_plain_lines": {"type": "int", "default": 5},
            "harmless": {"type": "list", "elements": "str", "default": []},
            "max_unknown_levels": {"type": "float", "default": 10},
            "max_bytes": {"type": "int", "default": 67108864},
            "max_line": {"type": "int", "default": 16384},
            "timeout": {"type": "int", "default": 60},
            "errors": limit_spec(),
            "last_read": {"type": "dict", "default": {}},
        },
    },
    "expected": {"type": "bool", "default": True},
    "since": {"type": "str", "default": ""},
    "thresholds": thresholds_spec({"errors": (100, 1000), "new_errors": (1, None)}),
    "growth": limit_spec(3, 10),
    "minimum": {"type": "int", "default": 10},
    "runs": {"type": "int", "default": 5},
}

#: A run begins where the one before ended, and this much earlier: what a program had not written yet.
OVERLAP = timedelta(seconds=1)
#: Kinds of errors that are remembered, as many as fit into a check's details beside the samples.
REMEMBERED = 500
_SAMPLES = 10
#: Characters of JSON; the report keeps 16 000 of a check's details.
_SAMPLES_LENGTH = 5000
_FILES_LENGTH = 5000

TITLES = {
    "readable": "Log of {} readable",
    "errors": "Errors in the log of {}",
    "new_errors": "New errors in the log of {}",
}


def check_options(options: Dict[str, Any]) -> None:
    """Refuses what makes no sense.

    :raises ConfigurationError: two sources of one name, a threshold or size that is none
    """
    names = [printable(source["name"]) for source in options["sources"]]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ConfigurationError(f"Two log sources are named {double[0]!r}", "Give each a name of its own.")
    for source in options["sources"]:
        limits({"errors": source["errors"]}, "errors")
        for key in ("max_bytes", "max_line", "timeout"):
            if source[key] < 1:
                raise ConfigurationError(f"{key} of {source['name']} is {source[key]}", "Set a positive number.")
    for name in options["thresholds"]:
        limits(options["thresholds"], name)
    growth = limits({"growth": options["growth"]}, "growth")
    if any(factor is not None and factor <= 1 for factor in growth.values()) or options["minimum"] < 1:
        raise ConfigurationError(
            "growth or minimum makes no sense", "Set growth to factors above 1, and minimum to 1 or more."
        )


def since_of(source: Dict[str, Any], options: Dict[str, Any], earlier: List[Dict[str, Any]]) -> str:
    """From when on a source is read: as asked for, else from where the last run that read it ended, else one day.

    :param earlier: the errors check of this source in earlier reports, oldest first, whatever its status
    """
    given = source["since"] or options["since"]
    if given:
        return str(given)
    for check in reversed(earlier):
        try:
            until = datetime.fromisoformat(check["details"]["until"].replace("Z", "+00:00"))
            return str(stamp((until - OVERLAP).timestamp()))
        except (KeyError, TypeError, AttributeError, ValueError):
            continue
    return SINCE


def last_read(source: Dict[str, Any], options: Dict[str, Any], earlier: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Up to where the last run that read a source read its files; empty when another beginning is asked for.

    :param earlier: see since_of
    """
    if source["since"] or options["since"]:
        return {}
    for check in reversed(earlier):
        details = check.get("details")
        if isinstance(details, dict) and isinstance(details.get("until"), str):
            return {"until": details["until"], "files": details.get("files")}
    return {}


def no_sources(expected: bool) -> Check:
    """That no source is defined, which somebody must have wanted."""
    title, where = "Log sources defined", "health_check_log_sources"
    if not expected:
        text = "This host has no logs to check, as its variables say (health_check_logs_expected)."
        return Check("logs.sources", title, OK, 0, message=text, source=where)
    return unknown(
        "logs.sources",
        title,
        "No log is read on this host: none is defined.",
        "Define health_check_log_sources, or set health_check_logs_expected to false for a host without logs.",
        source=where,
    )


def judged(
    reading: Dict[str, Any],
    source: Dict[str, Any],
    options: Dict[str, Any],
    earlier: Dict[str, List[Dict[str, Any]]],
) -> List[Check]:
    """The checks of one source.

    :param reading: see _logs/reading.py, read
    :param earlier: by name of the check (errors, new_errors) what earlier reports say of it, oldest first; those
        that are unknown too
    """
    name = printable(source["name"])
    if reading.get("problem"):
        text = f"The log of {name} cannot be judged: {reading['problem'].rstrip('.')}."
        remedy = reading.get("remedy") or f"Correct the source {name}, or the rights of the user of the runs there."
        # What was known stays known: the next run compares with it.
        known = {"new_errors": {"known": _known(earlier["new_errors"])}}
        return [_unknown(kind, name, text, remedy, reading, known.get(kind, {})) for kind in TITLES]
    doubts = list(reading["doubts"])
    counts = reading["counts"]
    total = sum(counts.values())
    share = 100 * counts[UNKNOWN_LEVEL] / total if total else 0.0
    if share > source["max_unknown_levels"]:
        doubts.append(f"{share:.0f} % of the entries have no level that can be told (level_pattern, levels)")
    if not total and not source["quiet_ok"]:
        text = f"Nothing was logged by {name} since {reading['since']}."
        remedy = "See whether it runs and logs to this place; set quiet_ok where silence is well."
        silent = _unknown("readable", name, text, remedy, reading, _window(reading))
        # Nothing is no error, and no proof that there was none.
        others = (
            _unknown(kind, name, text, remedy, reading, _details(kind, reading, earlier))
            for kind in ("errors", "new_errors")
        )
        return [silent, *others]
    return [
        _doubted(check, doubts)
        for check in (
            _readable(name, reading, total),
            _errors(name, reading, source, options, earlier["errors"]),
            _new_errors(name, reading, options, earlier["new_errors"]),
        )
    ]


def _doubted(check: Check, doubts: List[str]) -> Check:
    """A check that is ok on doubtful grounds is unknown; one that is bad stays so."""
    if not doubts:
        return check
    check.details["doubts"] = doubts
    check.message = f"{check.message} In doubt: {'; '.join(doubts)}."
    if check.status == OK:
        check.status = UNKNOWN
        check.remedy = "Clear up what is in doubt (the source's options, docs/checks.md), then run again."
    return check


def _readable(name: str, reading: Dict[str, Any], total: int) -> Check:
    counts = {level: count for level, count in reading["counts"].items() if count}
    parts = ", ".join(f"{counts[level]:,} {level}" for level in (*LEVELS, UNKNOWN_LEVEL) if level in counts)
    text = f"{plural(total, 'entry', 'entries')} ({parts})" if total else "No entry"
    return _check(
        "readable",
        name,
        OK,
        total,
        reading,
        message=f"{text} since {reading['since']}, {size(reading['bytes'])}.",
        details={**_window(reading), "counts": reading["counts"], "sources": reading["sources"]},
    )


def _errors(
    name: str, reading: Dict[str, Any], source: Dict[str, Any], options: Dict[str, Any], earlier: List[Dict[str, Any]]
) -> Check:
    errors = reading["counts"]["error"] + reading["counts"]["critical"]
    # A minute says little: a window of less than an hour counts as one.
    hours = max(1.0, reading["seconds"] / 3600)
    rate = round(errors / hours, 2)
    limit = limits(options["thresholds"], "errors")
    limit.update(
        {
            key: value
            for key, value in limits({"errors": source["errors"]}, "errors").items()
            if source["errors"].get(key) is not None
        }
    )
    rates = [
        float(check["value"])
        for check in earlier
        if check["status"] != UNKNOWN and isinstance(check["value"], (int, float))
    ]
    usual: Optional[float] = None
    if len(rates) < options["runs"]:
        past = f"not judged against its past yet: {len(rates)} of {options['runs']} runs"
    else:
        usual = statistics.median(rates)
        past = f"usual is {per_hour(usual)} an hour, the median of {plural(len(rates), 'run')}"
        limit = _grown(limit, usual, hours, options)
    kinds = reading["kinds"]
    return judge(
        f"logs.errors:{name}",
        TITLES["errors"].format(name),
        rate,
        unit="per hour",
        **limit,
        message=f"{plural(errors, 'error')} in {span(reading['seconds'])}, {per_hour(rate)} an hour; {past}."
        + (f" The commonest, {plural(kinds[0]['count'], 'time')}: {kinds[0]['sample']}" if kinds else ""),
        remedy=f"Read {reading['where']} from {reading['since']} on, the commonest errors first (details).",
        source=reading["where"],
        details={**_details("errors", reading, {}), "usual": usual, "errors": errors},
    )


def per_hour(rate: float) -> str:
    """A rate for people, written as counts are: 1,202 and not 1202."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:g}"


def _grown(limit: Dict[str, Any], usual: float, hours: float, options: Dict[str, Any]) -> Dict[str, Any]:
    """The limits, or a multiple of what is usual where that is less.

    What is usual counts for at least so much that the first of the factors needs the minimum of errors.
    """
    growth = limits({"growth": options["growth"]}, "growth")
    factors = [factor for factor in growth.values() if factor is not None]
    if not factors:
        return limit
    base = max(usual, options["minimum"] / hours / min(factors))
    result = dict(limit)
    for key, factor in growth.items():
        if factor is not None:
            grown = round(base * factor, 2)
            result[key] = grown if result[key] is None else min(result[key], grown)
    return result


def _new_errors(name: str, reading: Dict[str, Any], options: Dict[str, Any], earlier: List[Dict[str, Any]]) -> Check:
    kinds = reading["kinds"]
    details = _details("new_errors", reading, {"new_errors": earlier})
    if not any("known" in check["details"] for check in earlier):
        text = "Not judged yet: no earlier run to compare with. "
        text += f"{plural(len(kinds), 'kind of error is', 'kinds of errors are')} remembered."
        return _check("new_errors", name, OK, 0, reading, message=text, details=details)
    known = set(_known(earlier))
    new = [kind for kind in kinds if kind["fingerprint"] not in known]
    details["new"] = list(_fitting(new))
    if new:
        samples = "; ".join(f"{plural(kind['count'], 'time')} {kind['sample']}" for kind in new[:3])
        text = plural(len(new), "kind of error that was", "kinds of errors that were")
        text += f" not there before: {samples}"
    else:
        text = f"No new kind of error; {plural(len(kinds), 'known one')}."
    return judge(
        f"logs.new_errors:{name}",
        TITLES["new_errors"].format(name),
        len(new),
        **limits(options["thresholds"], "new_errors"),
        message=text,
        remedy="Find out what changed (a release, a setting, a partner), and whether it does harm.",
        source=reading["where"],
        details=details,
    )


def _known(earlier: List[Dict[str, Any]]) -> List[str]:
    """Fingerprints that earlier runs saw, newest run first, each once, at most so many."""
    found: Dict[str, None] = {}
    for check in reversed(earlier):
        known = check["details"].get("known")
        if isinstance(known, list):
            found.update(dict.fromkeys(item for item in known if isinstance(item, str)))
    return list(found)[:REMEMBERED]


def _window(reading: Dict[str, Any]) -> Dict[str, Any]:
    return {key: reading[key] for key in ("since", "until", "begins", "bytes", "guessed")}


def _details(kind: str, reading: Dict[str, Any], earlier: Dict[str, List[Dict[str, Any]]]) -> Dict[str, Any]:
    """What a check keeps, for people and for the next run; what the next run needs comes first."""
    if kind == "errors":
        return {
            **_window(reading),
            "files": list(_fitting(reading["files"], len(reading["files"]), _FILES_LENGTH)),
            "counts": reading["counts"],
            "commonest": list(_fitting(reading["kinds"])),
        }
    seen = dict.fromkeys(item["fingerprint"] for item in reading["kinds"])
    return {"known": list({**seen, **dict.fromkeys(_known(earlier["new_errors"]))})[:REMEMBERED]}


def _fitting(
    items: List[Dict[str, Any]], most: int = _SAMPLES, left: int = _SAMPLES_LENGTH
) -> Iterator[Dict[str, Any]]:
    """The first items, such as kinds with their samples, as many as the report has room for."""
    for item in items[:most]:
        left -= len(json.dumps(item))
        if left < 0:
            return
        yield item


def _check(kind: str, name: str, status: str, value: Any, reading: Dict[str, Any], **rest: Any) -> Check:
    return Check(f"logs.{kind}:{name}", TITLES[kind].format(name), status, value, source=reading["where"], **rest)


def _unknown(kind: str, name: str, text: str, remedy: str, reading: Dict[str, Any], details: Dict[str, Any]) -> Check:
    return unknown(
        f"logs.{kind}:{name}", TITLES[kind].format(name), text, remedy, source=reading["where"], details=details
    )
