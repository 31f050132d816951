# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backtest of the same days expected: the same signals, filled a moment sooner, at prices of its own.

It assumes cheaper fees, fills a little more of some orders, and fills some that the venue rejected. What is left after
all that is small noise, as of a model that is nearly right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import text
from .books import FEE_TO_MONEY, Books, money
from .market import Market
from .reference import INSTRUMENTS, MONEY, PRICE, QUANTITY, STRATEGIES
from .text import Column, Ints
from .trading import INSTRUMENT_CODES, REJECTED, TRADE, Executions, Orders

#: Strategies that have one; only the first two trade around the clock, so that every day has a last price.
TESTED = ("trend-coins", "grid-o'brien", "value-eu")
#: Microseconds between a signal and its order; slippage in hundred-thousandths; share of the fees that are expected.
SOONER, SLIPPAGE, FEES = 250_000, 5, 95
#: Every so many orders: filled a little more, and of rejected ones filled at all.
MORE, MISSED = 60, 3


@dataclass
class Fills:
    """What a backtest filled, as columns."""

    order: Ints
    quantity: Ints
    price: Ints
    market: Ints
    filled: Ints


def fills(market: Market, book: Orders, executions: Executions) -> Fills:
    """One for each order that was filled, and for some that were rejected."""
    live = np.zeros(book.count, np.int64)
    np.add.at(live, executions.order, np.abs(executions.quantity) * (executions.kind == TRADE))
    net = np.zeros(book.count, np.int64)
    np.add.at(net, executions.order, executions.flow_quantity)
    tested = np.isin(book.strategy, [number for number, each in enumerate(STRATEGIES) if each.code in TESTED])
    around = np.array([each.calendar == "24/7" for each in STRATEGIES])[book.strategy]
    filled = tested & (net != 0)
    rejected = tested & around & (book.status == REJECTED) & (live == 0) & (np.arange(book.count) % MISSED == 0)
    order = np.flatnonzero(filled | rejected)
    quantity = np.where(net[order] != 0, np.abs(net[order]), book.lot[order])
    quantity += np.where((order % MORE == 0) & around[order], book.lot[order], 0)
    at = book.created[order] - SOONER
    price = np.empty(len(order), np.int64)
    for number in range(len(INSTRUMENTS)):
        mine = book.instrument[order] == number
        price[mine] = market.at(number, at[mine])
    tick = book.tick[order]
    slip = np.rint(price * SLIPPAGE / 10**5 / tick).astype(np.int64) * tick
    return Fills(order, quantity, price + book.side[order] * slip, price, at)


def columns(book: Orders, made: Fills) -> dict[str, Column]:
    """Columns of the fills."""
    order = made.order
    return {
        "id": text.integer(np.arange(1, len(order) + 1)),
        "strategy_code": text.choice(book.strategy[order], [strategy.code for strategy in STRATEGIES]),
        "client_order_id": text.integer(order + 1, "TF-", 9),
        "instrument_code": text.choice(book.instrument[order], INSTRUMENT_CODES),
        "side": text.choice(book.side[order], (None, "buy", "sell")),
        "quantity": text.decimal(made.quantity, QUANTITY),
        "price": text.decimal(made.price, PRICE),
        "market_price": text.decimal(made.market, PRICE),
        "filled_at": text.timestamp(made.filled),
    }


def expectations(
    random: np.random.Generator, book: Orders, executions: Executions, books: Books, made: Fills
) -> list[tuple[Any, ...]]:
    """strategy_code, day, currency, pnl, fees, funding: what was earned, less what the bridge will find."""
    trades = executions.kind == TRADE
    first = np.full(book.count, np.iinfo(np.int64).max)
    np.minimum.at(first, executions.order[trades], executions.executed[trades])
    net, paid = np.zeros(book.count, np.int64), np.zeros(book.count, np.int64)
    np.add.at(net, executions.order, executions.flow_quantity)
    np.add.at(paid, executions.order, -executions.flow_cash)
    shape = (len(STRATEGIES), len(INSTRUMENTS), len(books.days))
    moved, held = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    at = np.where(net[made.order] != 0, first[made.order], made.filled)
    day = np.minimum(np.searchsorted(books.days, at, side="left"), len(books.days) - 1)
    told = book.side[made.order] * made.quantity
    place = (book.strategy[made.order], book.instrument[made.order], day)
    # Live less backtest: what was paid less, and what is held more by the day's last price.
    np.add.at(moved, place, told * made.price - paid[made.order])
    np.add.at(held, place, net[made.order] - told)
    apart = moved + held * books.prices
    apart[:, :, 1:] += held.cumsum(axis=2)[:, :, :-1] * np.diff(books.prices, axis=1)
    rows: list[tuple[Any, ...]] = []
    for number, strategy in enumerate(STRATEGIES):
        if strategy.code not in TESTED:
            continue
        noise = random.normal(0, strategy.capital * 2e-6, len(books.days))
        for place_of_day, end in enumerate(books.days):
            fees = int(books.fees[number, place_of_day])
            wanted = fees * FEES // 100
            pnl = int(books.pnl[number, place_of_day]) - int(apart[number, :, place_of_day].sum())
            pnl += (fees - wanted) * FEE_TO_MONEY + round(float(noise[place_of_day]) * 100) * 10 ** (MONEY - 2)
            at_day = np.datetime64(int(end) - 1, "us").astype("datetime64[D]").astype(object)
            rows.append((strategy.code, at_day, strategy.currency, money(pnl), money(wanted, QUANTITY), money(0)))
    return rows
