# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as data: what every document of it is made of, and what it rests on."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .._performance.instruments import lasting
from .._performance.reading import Read
from ..checks import STATUSES, plain
from ..words import printable
from .instruments import Asked
from .month import Line, Month
from .past import SHOWN, Known, Operations

#: Changes when a document tells something else, or by other rules.
METHOD = "stakeholder-report-3"
#: Figures, what they are, and the ids under which docs/review.md and docs/stakeholders.md define them.
DEFINITIONS = (
    ("twr", "Net return", "Time-weighted, after fees: what capital earned that was there all the time."),
    ("twr", "Gross return", "The same before fees."),
    ("mwr", "Money-weighted return", "The rate at which all flows and the last equity are worth nothing, per year."),
    ("drawdown", "Drawdown", "How far below the highest point so far; the deepest one, and today's."),
    (
        "sharpe-hac",
        "Sharpe ratio",
        "Mean by deviation, per year, over nothing; its interval allows for autocorrelation.",
    ),
    ("sortino", "Sortino ratio", "Mean by the root mean square of losses, per year."),
    ("calmar", "Calmar ratio", "Return per year by the deepest drawdown."),
    ("carino-1999", "Contribution", "A strategy's share of the book's return; the shares add up to it."),
    (
        "instrument-result",
        "Result of an instrument",
        "Worth at the end, less worth at the beginning and what was paid.",
    ),
    (
        "event-cost",
        "Cost of an incident or a change",
        "What all that was held and traded made before fees while it lasted, by prices from then; and what fills that"
        " only backtests had would have made by its end.",
    ),
)
NO_REASON = "none was declared, and no reason given"
#: Areas of runs whose findings a report tells, and in which section.
AREAS = {"review": "risk", "validation": "risk", "backtest": "risk"}


def told(
    found: Read,
    month: Month,
    more: Asked,
    known: Known,
    findings: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
) -> Dict[str, Any]:
    """All that is told, as JSON data, before it is cut to a class of recipients.

    :param findings: checks of the areas AREAS, of the newest runs
    """
    benchmark, why = compared(more, options, month.book.currency)
    data = {
        "method": METHOD,
        "environment": options["environment_name"],
        "title": options["title"],
        "month": f"{options['first']:%Y-%m}",
        "first": str(options["first"]),
        "last": str(options["last"]),
        "currency": month.book.currency,
        "code_sha256": code(),
        "inputs_sha256": inputs(found, more),
        "benchmark": benchmark,
        "no_benchmark": why,
        "book": line(month.book),
        "accounts": [line(each) for each in month.accounts],
        "strategies": [line(each) for each in month.strategies],
        "ended": [printable(name, 80) for name in month.ended],
        "attribution": attribution(month),
        "findings": [
            {key: check.get(key) for key in ("id", "area", "title", "status", "message")}
            for check in sorted(findings, key=lambda each: -STATUSES.index(each["status"]))
            if check.get("area") in AREAS
        ],
        "operations": operations(known.operations),
        "changed_methods": changed(known.before, known.whole and not known.operations.problem),
        "definitions": [{"id": id, "name": name, "text": text} for id, name, text in DEFINITIONS],
    }
    result: Dict[str, Any] = plain(data)
    return result


def line(given: Line) -> Dict[str, Any]:
    """One strategy, account or the book."""
    return {
        "name": shown(given.name),
        "account": shown(given.account),
        "currency": shown(given.currency),
        "equity": given.equity,
        "month": given.month,
        "all": given.all,
        "doubt": given.doubt or ("" if given.month else "it has no day in this month"),
    }


def shown(name: str) -> str:
    """A name for people, empty when there is none."""
    return printable(name, 80) if name else ""


def attribution(month: Month) -> Dict[str, Any]:
    """What made the book's result."""
    given = month.attribution
    return {
        "doubt": given.doubt,
        "contributions": given.contributions,
        "results": given.results,
        "currency_effect": given.currency,
        "fees": given.fees,
        "instruments": {
            name: dict(sorted(found.items(), key=lambda item: (-abs(item[1]), item[0])))
            for name, found in sorted(given.instruments.results.items())
        },
        "no_instruments": given.instruments.doubts,
        "unexplained": given.unexplained,
    }


def operations(given: Operations) -> Dict[str, Any]:
    """What was done to the platform."""
    found = asdict(given)
    for name in ("incidents", "changes", "overrides"):
        found[f"more_{name}"] = max(0, len(found[name]) - SHOWN)
        found[name] = found[name][-SHOWN:]
    found["days_answered"] = sum(value is True for value in given.answered.values())
    found["days_down"] = sum(value is False for value in given.answered.values())
    return found


def compared(more: Asked, options: Mapping[str, Any], currency: str) -> "tuple[Optional[Dict[str, Any]], str]":
    """The benchmark's return of the month, or why there is none."""
    given = options["benchmark"]
    if not given.get("instrument"):
        return None, given.get("reason") or NO_REASON
    rows = more.benchmark
    if more.no_benchmark:
        return None, more.no_benchmark.rstrip(".")
    if len(rows) != 2 or any(row["price"] is None or not row["price"].is_finite() or row["price"] <= 0 for row in rows):
        return None, f"{printable(given['instrument'], 60)} has no price at both ends of the month"
    if {row["currency"] for row in rows} != {currency}:
        return None, f"prices of {printable(given['instrument'], 60)} are not in {currency or 'one currency'}"
    value = rows[1]["price"] / rows[0]["price"] - 1
    name = printable(given.get("title") or given["instrument"], 80)
    return {"name": name, "instrument": given["instrument"], "return": float(value)}, ""


def changed(before: Optional[Mapping[str, Any]], sure: bool) -> List[str]:
    """What is computed in another way than in the report before.

    :param sure: whether no report before means that there was none
    """
    if before is None:
        first = "This is the first report in the ledger."
        return [first if sure else "Not known: the ledger does not tell which report was before."]
    lines = []
    if before.get("method") != METHOD:
        lines.append(f"The report is made by {METHOD}; the one of {before.get('month')} was by {before.get('method')}.")
    if before.get("code_sha256") != code():
        lines.append(f"The code that computes the figures is not that of the report of {before.get('month')}.")
    then, now = set(before.get("definitions") or []), {id for id, _name, _text in DEFINITIONS}
    for word, ids in (("new", now - then), ("no longer used", then - now)):
        lines += [f"Formula {id} is {word}." for id in sorted(map(str, ids))]
    return lines


@lru_cache(maxsize=1)
def code() -> str:
    """SHA-256 of the code that computes: of this room and the one of formulas."""
    found = hashlib.sha256()
    here = Path(__file__).resolve().parent
    for folder in (here.parent / "_performance", here):
        for path in sorted(folder.glob("*.py")):
            found.update(f"{folder.name}/{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def inputs(found: Read, more: Asked) -> str:
    """SHA-256 of all that was read and that a figure depends on."""
    digest = hashlib.sha256()

    def add(name: str, rows: Sequence[Any]) -> None:
        for text in sorted(_text(row) for row in rows):
            digest.update(f"{name} {text}\n".encode())

    add("strategies", found.strategies)
    for rows in found.equity.values():
        add("equity", rows)
    for rows in (found.flows or {}).values():
        add("flows", [row for row in rows if row["day"] is None or row["day"] <= found.until])
    for currency, rates in sorted(found.rates.items()):
        add(f"rates {currency}", sorted(rates.items()))
    add("instruments", lasting(more.rows))
    add("benchmark", more.benchmark)
    add("lasted", lasting(more.lasted.rows))
    add("missed", more.lasted.missed)
    return digest.hexdigest()


def _text(row: Any) -> str:
    items = row.items() if hasattr(row, "items") else enumerate(row)
    return " ".join(f"{key}={_number(value)}" for key, value in items)


def _number(value: Any) -> str:
    if isinstance(value, Decimal) and value.is_finite():
        return format(value.normalize(), "f")
    return repr(value)
