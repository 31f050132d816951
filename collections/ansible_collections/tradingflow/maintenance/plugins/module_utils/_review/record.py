# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ledger keeps of a review: digests of all that its figures rest on, the method, and what came out."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, Iterable, Mapping

from .._performance.columns import Rows
from .._performance.instruments import lasting
from .._performance.reading import Read
from .._performance.sessions import Sessions
from ..checks import plain
from . import findings

#: Changes when a figure is computed in another way.
METHOD = "strategy-review-4"
#: Options that no figure depends on; the last day is kept as it was decided.
NO_FIGURE = ("database", "thresholds", "timeout", "run", "until")


def settings(options: Mapping[str, Any]) -> Dict[str, Any]:
    """Options that figures depend on."""
    return {name: value for name, value in options.items() if name not in NO_FIGURE}


def inputs(found: Read, calendars: Mapping[Any, Sessions], options: Mapping[str, Any]) -> Dict[str, str]:
    """SHA-256 of each input, as it was read, in an order of its own: the same inputs give the same digests.

    What is of a day after the review's last one is no input of a figure.

    :param calendars: those that were used
    """
    until = found.until
    rates = {
        currency: {str(day): f"{rate:f}" for day, rate in of.items() if day <= until}
        for currency, of in found.rates.items()
    }
    newest = {currency: f"{of[max(of)]:f}" for currency, of in found.rates.items() if of}
    flows = None
    if found.flows is not None:
        flows = [row for of in found.flows.values() for row in of if row["day"] is None or row["day"] <= until]
    return {
        "equity": _equity(found),
        "strategies": _digest(_rows(found.strategies)),
        "flows": _digest(None if flows is None else _rows(flows)),
        "executions": _digest([_rows(found.traded), found.reasons.get("traded", "")]),
        "volumes": _digest([_rows(found.volumes), found.reasons.get("volumes", "")]),
        "contributors": _digest([_rows(lasting(found.lost)), found.reasons.get("lost", "")]),
        "positions": _digest([_rows(found.held), newest, found.reasons.get("held", "")]),
        "expectations": _digest(
            [
                None if found.expected is None else _rows(found.expected),
                _rows(found.bridged),
                _rows(found.funded),
                {name: {str(day): str(price) for day, price in of.items()} for name, of in found.marks.items()},
                [found.reasons.get(name, "") for name in ("expected", "bridged", "funded")],
            ]
        ),
        "rates": _digest([rates, found.no_rates]),
        "calendars": _digest(
            {str(name): [list(map(str, each.days)), list(map(str, each.year))] for name, each in calendars.items()}
        ),
        "options": _digest({**settings(options), "until": str(until), "method": METHOD}),
    }


def together(parts: Mapping[str, str]) -> str:
    """One digest of all inputs."""
    return _digest(dict(parts))


def _digest(value: Any) -> str:
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _rows(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Rows in an order that does not depend on how they came."""
    return sorted(json.dumps(plain(dict(row)), sort_keys=True, ensure_ascii=False) for row in rows)


def _equity(found: Read) -> str:
    digest = hashlib.sha256()
    for name in sorted(found.equity):
        told = found.equity[name]
        if isinstance(told, Rows):
            digest.update(f"{name!r} {name in found.cut} {told.sha256}\n".encode("utf-8", "backslashreplace"))
            continue
        rows = [row for row in told if row["day"] is None or row["day"] <= found.until]
        digest.update(f"{name!r} {name in found.cut} {_digest(_rows(rows))}\n".encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def record(
    strategies: Any,
    groups: Any,
    joint: Any,
    options: Mapping[str, Any],
    parts: Mapping[str, str],
    backtests: Mapping[str, Any],
) -> Dict[str, Any]:
    """What was read, how it was computed, and what came out.

    :param parts: see inputs(); empty when they could not be told
    :param backtests: strategy -> bridge and drift
    """
    result: Dict[str, Any] = plain(
        {
            "method": METHOD,
            "inputs_sha256": together(parts) if parts else None,
            "inputs": parts,
            "options": {**settings(options), "until": options["until"]},
            "strategies": {
                one.name: one.figures.data if one.track.sound else {"unknown": findings.why(one)} for one in strategies
            },
            "accounts": {group.name: doubt or result.data for group, result, doubt in groups if group.name},
            "book": next((doubt or result.data for group, result, doubt in groups if not group.name), None),
            "diversification": joint.data if joint else None,
            "backtests": backtests,
        }
    )
    return result
