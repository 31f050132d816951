# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a review says of capacity, and of what a drawdown is made of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from .._performance.capacity import DAYS
from .._performance.lost import Lost
from .._performance.reading import Read
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, judge, limits, unknown
from ..words import plural, printable

CAPACITY = ("review.capacity", "Capacity of the strategies")
SOURCE = "views maintenance.executions and market_volume"
#: Instruments that are named; details have all.
SHOWN = 3


def capacity(found: Read, options: Dict[str, Any]) -> Iterator[Check]:
    """Each strategy's share of its markets; one line when nobody tells what these traded."""
    reason = found.reasons.get("volumes", "it was not read")
    if reason:
        remedy = "Define the view maintenance.market_volume (docs/review.md)."
        yield unknown(*CAPACITY, f"Capacity is not known: {reason}.", remedy, source=SOURCE)
        return
    if not found.volumes:
        yield unknown(*CAPACITY, f"Nothing was traded in {DAYS} days.", "Review again later.", source=SOURCE)
    for row in found.volumes:
        yield _of_strategy(row, options)


def _of_strategy(row: Mapping[str, Any], options: Dict[str, Any]) -> Check:
    name = printable(row["strategy"]) or "unnamed"
    id, title = f"review.capacity:{name}", f"Capacity of {name}"
    limit = limits(options["thresholds"], "participation")
    missing = row["traded"] - row["known"]
    text = ""
    if missing:
        text = f" Of {missing} of {plural(row['traded'], 'instrument and day', 'instruments and days')} there is no"
        text += f" volume that holds what was traded, such as {printable(row['unknown'], 40)} on {row['unknown_day']}."
    if not row["known"]:
        return unknown(id, title, f"{title}:{text}", "Correct the view market_volume.", source=SOURCE)
    usual, most = 100 * row["usual"], 100 * row["most"]
    shown = f"It took up to {usual:.2f} % of a day's volume on 95 % of the days and instruments that it traded, at most"
    shown += f" {most:.2f} % ({printable(row['instrument'], 40)} on {row['day']}), in {DAYS} days.{text}"
    bound = min((limit[state] for state in (WARNING, CRITICAL) if limit[state] is not None), default=None)
    if bound is not None and 0 < usual < bound and not missing:
        shown += f" At {bound:g} % it would trade about {bound / usual:.1f} times as much."
    check = judge(
        id,
        title,
        round(usual, 4),
        **limit,
        unit="%",
        message=shown,
        source=SOURCE,
        details={"days_traded": row["traded"], "days_known": row["known"], "most": row["most"], "usual": row["usual"]},
        remedy="It moves its own market: lessen it, or spread its orders.",
    )
    if missing and check.status == OK:
        check.status, check.value, check.remedy = UNKNOWN, None, "Correct the view market_volume."
    return check


def explained(check: Check, lost: Lost, currency: str) -> None:
    """Adds to a drawdown what it is made of, in money."""
    since = f"Since the peak of {lost.since}" if lost.since else "Since the beginning"
    text = f" {since} it made {lost.money:+,.2f} {printable(currency, 10)}"
    told: Dict[str, Any] = {"money": str(lost.money), "fees": None if lost.fees is None else str(lost.fees)}
    if lost.doubt:
        check.message += f"{text}; by instrument it is not known: {lost.doubt.rstrip('.')}."
        check.details["contributors"] = {**told, "unknown": lost.doubt}
        return
    order = sorted(lost.instruments.items(), key=lambda item: (item[1], item[0]))
    told.update(instruments={name: str(value) for name, value in order}, unexplained=str(lost.rest))
    check.details["contributors"] = told
    check.message += f"{text}: {', '.join(f'{name} {value:+,.2f}' for name, value in _parts(order, lost))}."


def _parts(order: "List[Tuple[str, Decimal]]", lost: Lost) -> "Iterator[Tuple[str, Decimal]]":
    """The largest losses and the rest, which add up to all."""
    for name, value in order[:SHOWN]:
        yield printable(name, 40), value
    if order[SHOWN:]:
        yield f"{len(order) - SHOWN} more", sum((value for _name, value in order[SHOWN:]), Decimal(0))
    if lost.fees is not None:
        yield "fees", -lost.fees
    yield "not explained" if lost.fees is not None else "fees and what is not explained", lost.rest
