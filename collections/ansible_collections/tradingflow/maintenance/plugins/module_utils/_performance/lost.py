# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each instrument brought since the peak, of strategies that are below theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.risk import EXACT
from .._checks.sql import Row, reading
from .._checks.trading import CATALOGUE, SCHEMA, lack
from ..errors import MaintenanceError
from .columns import Days, decimal, total
from .instruments import OF_ONE_SQL, VIEWS, Span, instruments, values_of
from .reading import Catalogue, Read, asked_of
from .strategies import Strategy

#: Digits of a rate between two currencies.
DIGITS = 50


@dataclass
class Lost:
    """What a strategy made since its peak, in its own currency.

    :param since: the day of the peak, None when it never was above its beginning
    :param money: all of it, after fees: instruments less fees plus the rest, to the last digit
    :param fees: None where nobody tells those of a day; they are in the rest then
    :param rest: what instruments and fees do not explain
    :param doubt: why instruments are not known, empty when they are
    """

    since: Optional[date]
    money: Decimal
    instruments: Dict[str, Decimal] = field(default_factory=dict)
    fees: Optional[Decimal] = None
    rest: Decimal = Decimal(0)
    doubt: str = ""


def peak(one: Strategy) -> Optional[date]:
    """The day of the last peak; None when that was before the first session."""
    place = one.figures.drawdown.peak if one.figures.drawdown else 0
    return one.figures.sessions[place - 1][0] if place else None


def below(strategies: Sequence[Strategy]) -> List[Strategy]:
    """Those that are below their peak."""
    return [one for one in strategies if one.figures.drawdown and one.figures.drawdown.now < 0]


def spans(strategies: Sequence[Strategy]) -> List[Span]:
    """From the day after the peak through the last day, of each that is below its peak."""
    found: List[Span] = []
    for one in below(strategies):
        days = Days.of(one.track.days)
        before = peak(one)
        first = before + timedelta(days=1) if before else date.fromordinal(int(days.ordinals[0]))
        after = date.fromordinal(int(days.ordinals[-1]) + 1)
        begin, end = (datetime.combine(day, time(), timezone.utc) for day in (first, after))
        found.append((one.name, one.name, begin, end))
    return found


def asked(options: Mapping[str, Any], wanted: Sequence[Span]) -> Tuple[List[Row], str]:
    """Rows of these spans, and why there are none; they are of a moment of their own."""
    if not wanted:
        return [], ""
    try:
        with reading(options["database"], options["timeout"], "REPEATABLE READ") as cursor:
            cursor.execute(CATALOGUE, (SCHEMA,))
            catalogue: Catalogue = {}
            for row in cursor.fetchall():
                catalogue.setdefault(row["view"], {})[row["column"]] = row
            lacking = lack(catalogue, VIEWS)
            if lacking:
                return [], lacking[0].rstrip(".")
            return asked_of(cursor, OF_ONE_SQL, values_of(wanted, options["rate_age"]))
    except MaintenanceError as error:
        return [], error.message.rstrip(".")


def lost(one: Strategy, rows: Sequence[Row], why: str, found: Read, options: Mapping[str, Any]) -> Lost:
    """What a strategy below its peak made since then, by instrument.

    :param rows: of this strategy
    :param why: why there are none, empty when they were read
    """
    before, days = peak(one), Days.of(one.track.days)
    of = days.taken(days.ordinals > (before.toordinal() if before else -1))
    result = Lost(before, decimal(total(of.pnl), of.scale), doubt=why)
    if of.known.all():
        result.fees = decimal(total(of.fees), of.scale)
    if not why:
        made = instruments(rows, _rates(one, rows, found, options), "drawdown")
        result.instruments = made.results.get(one.name, {})
        result.doubt = made.doubts.get(one.name, "")
    with localcontext(EXACT):
        explained = sum(result.instruments.values(), Decimal(0)) - (result.fees or 0)
        result.rest = result.money - explained
    return result


def _rates(one: Strategy, rows: Sequence[Row], found: Read, options: Mapping[str, Any]) -> Dict[str, Optional[Decimal]]:
    """What one of each currency is worth in the strategy's own, on its last day."""
    own = one.track.currency
    last = one.track.days[-1].day
    result: Dict[str, Optional[Decimal]] = {own: Decimal(1)}

    def into(currency: str) -> Optional[Decimal]:
        return Decimal(1) if currency == options["currency"] else found.rates.get(currency, {}).get(last)

    for currency in {row["currency"] for row in rows} - {own, None}:
        above, under = into(currency), into(own)
        with localcontext() as context:
            context.prec = DIGITS
            result[currency] = above / under if above is not None and under else None
    return result
