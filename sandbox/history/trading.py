# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Orders and executions. All quantities, prices and values are integers, scaled as reference.py says."""

from __future__ import annotations

import numpy as np

from .market import DAY, MICRO, Market, micros_of_minutes
from .reference import INSTRUMENTS, MONEY, QUANTITY, STRATEGIES, VENUES
from .text import Bools, Ints

VENUE_CODES = [venue.code for venue in VENUES]
INSTRUMENT_CODES = [instrument.code for instrument in INSTRUMENTS]
#: The venue of each instrument, by number.
VENUE_OF: Ints = np.array([VENUE_CODES.index(instrument.venue) for instrument in INSTRUMENTS], np.int64)
STATUSES = ("filled", "cancelled", "rejected", "expired", "open")
FILLED, CANCELLED, REJECTED, EXPIRED, OPEN = range(5)
KINDS = ("trade", "cancel", "correct")
TRADE, CANCEL, CORRECT = range(3)
REJECT_REASONS = ("price outside of the venue's band", "throttled: too many messages", "insufficient margin")
#: An order is done this long after it was made, so none straddles the end of a session or of a statement.
ORDER_LIFE = micros_of_minutes(10)


class Orders:
    """All orders by time, as columns; executions need them to be complete before they can be made."""

    def __init__(self, random: np.random.Generator, market: Market, first: int, cutoff: int, anchor: int, count: int):
        times, owners, instruments = [], [], []
        for number, strategy in enumerate(STRATEGIES):
            made = _times(random, market, strategy.instruments[0], first, cutoff, anchor, round(count * strategy.share))
            codes = np.array([INSTRUMENT_CODES.index(code) for code in strategy.instruments])
            times.append(made)
            owners.append(np.full(len(made), number))
            instruments.append(codes[random.integers(0, len(codes), len(made))])
        created = np.concatenate(times)
        by_time = np.argsort(created, kind="stable")
        self.created: Ints = created[by_time]
        self.strategy: Ints = np.concatenate(owners)[by_time]
        self.instrument: Ints = np.concatenate(instruments)[by_time]
        self.count = len(self.created)
        self.venue = VENUE_OF[self.instrument]
        self.tick = market.ticks[self.instrument]
        self.lot: Ints = np.array([instrument.lot for instrument in INSTRUMENTS], np.int64)[self.instrument]
        self.arrival = np.empty(self.count, np.int64)
        for number in range(len(INSTRUMENTS)):
            mine = self.instrument == number
            self.arrival[mine] = market.at(number, self.created[mine])

        luck = random.random(self.count)
        self.status = np.select([luck < 0.92, luck < 0.97, luck < 0.985], [FILLED, CANCELLED, REJECTED], EXPIRED)
        # Of the cancelled, some had been filled in part.
        partial = (luck >= 0.88) & (luck < 0.92)
        lots = self._fills(random, market, luck < 0.92)
        self.status[(lots == 0) & (self.status == FILLED)] = CANCELLED
        self.status[partial] = CANCELLED
        self.side = np.where(lots != 0, np.sign(lots), random.choice(np.array([-1, 1]), self.count))
        self.lots_filled = np.abs(lots)
        typical = np.maximum(1, (2e4 * 10**MONEY / (self.arrival * self.lot)).astype(np.int64))
        wanted = np.maximum(1, (typical * random.lognormal(0, 0.7, self.count)).astype(np.int64))
        extra = np.where(partial, wanted, 0)
        self.quantity = np.where(lots != 0, self.lots_filled + extra, wanted) * self.lot
        self.filled = self.lots_filled * self.lot

        self.is_limit = random.random(self.count) < 0.45
        passive = np.rint(self.arrival * random.uniform(0, 3e-4, self.count) / self.tick).astype(np.int64)
        self.limit = np.maximum(self.arrival - self.side * passive * self.tick, self.tick)
        latency = np.array([venue.latency for venue in VENUES])[self.venue] * 1000
        self.sent = self.created + random.lognormal(np.log(300), 0.6, self.count).astype(np.int64) + 1
        self.acknowledged = self.sent + (latency * random.lognormal(0, 0.45, self.count)).astype(np.int64) + 1
        self.reason = random.integers(0, len(REJECT_REASONS), self.count)
        # A few orders still wait in the book.
        unfilled = np.flatnonzero((lots == 0) & (self.status == CANCELLED) & (self.created > anchor - DAY // 2))
        waiting = unfilled[:25]
        self.status[waiting] = OPEN
        self.is_limit[waiting] = True
        wait = random.uniform(1 * MICRO, 400 * MICRO, self.count).astype(np.int64)
        self.closed = self.acknowledged + np.where(self.status == REJECTED, 0, wait)

    def _fills(self, random: np.random.Generator, market: Market, fills: Bools) -> Ints:
        """Signed lots filled, such that each position stays within what the strategy's capital allows."""
        lots = np.zeros(self.count, np.int64)
        window = 40
        for number, strategy in enumerate(STRATEGIES):
            for code in strategy.instruments:
                instrument = INSTRUMENT_CODES.index(code)
                mine = np.flatnonzero(fills & (self.strategy == number) & (self.instrument == instrument))
                if not len(mine):
                    continue
                drift = np.convolve(
                    random.standard_normal(len(mine) + window - 1), np.full(window, window**-0.5), mode="valid"
                )
                wish = np.tanh(0.7 * drift + strategy.skill * market.change(instrument, self.created[mine], 4))
                wish = (1 + wish) / 2 if strategy.long_only else wish
                lot_value = float(INSTRUMENTS[instrument].price) * INSTRUMENTS[instrument].lot / 10**QUANTITY
                most = 0.6 * strategy.capital / len(strategy.instruments) / lot_value
                lots[mine] = np.diff(np.rint(most * wish).astype(np.int64), prepend=0)
        return lots


def _times(
    random: np.random.Generator, market: Market, instrument: str, first: int, cutoff: int, anchor: int, count: int
) -> Ints:
    """Sorted times of orders, while the instrument's venue is open."""
    periods = []
    for start, end in market.periods[instrument.split(":")[0]]:
        for lower, upper in ((first, cutoff), (cutoff, anchor)):
            begin, until = max(start, lower), min(end, upper) - ORDER_LIFE
            if until > begin:
                periods.append((begin, until - begin))
    starts, lengths = np.array(periods, np.int64).T
    ends = np.cumsum(lengths)
    draws = np.sort(random.integers(0, ends[-1], count))
    index = np.searchsorted(ends, draws, side="right")
    times: Ints = starts[index] + draws - (ends - lengths)[index]
    return times


class Executions:
    """All executions by time, as columns, the venues' cancels and corrections among them.

    quantity, value and fee are what the venue reports; flow_* is what each row adds to position, cash and fees.
    """

    def __init__(self, random: np.random.Generator, orders: Orders, cutoff: int) -> None:
        lots = orders.lots_filled
        counts = np.minimum(lots, np.minimum(1 + random.poisson(1.8, orders.count), 9))
        order = np.repeat(np.arange(orders.count), counts)
        total = len(order)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        turn = np.arange(total) - starts
        number, whole = counts[order], lots[order]
        bounds = turn + ((whole - number) * ((turn + random.random(total)) / number)).astype(np.int64)
        bounds[turn == 0] = 0
        following = np.append(bounds[1:], 0)
        is_last = turn == number - 1
        following[is_last] = whole[is_last]
        side, tick = orders.side[order], orders.tick[order]
        quantity = (following - bounds) * orders.lot[order]
        limit = orders.is_limit[order]
        slip = np.rint(orders.arrival[order] * random.uniform(0, 4e-4, total) / tick).astype(np.int64)
        market_price = np.maximum(orders.arrival[order] + side * slip * tick, tick)
        price = np.where(limit, orders.limit[order], market_price)
        pause = np.where(limit, random.uniform(0, 55 * MICRO, total), random.exponential(4000, total) + 200)
        elapsed = np.cumsum(pause.astype(np.int64))
        before = np.append(0, elapsed)[starts]
        executed = orders.acknowledged[order] + elapsed - before

        # What the venue took back or put right, some time later; not of the last days, which are quiet.
        settled = np.flatnonzero((turn == 0) & (executed < cutoff - 2 * DAY))
        amended = np.sort(random.choice(settled, min(len(settled), max(4, total // 5000)), replace=False))
        is_cancel = np.arange(len(amended)) % 2 == 0
        worse = price[amended] + side[amended] * tick[amended] * random.integers(1, 4, len(amended))
        delay = random.integers(5 * 60 * MICRO, 50 * 60 * MICRO, len(amended))

        order = np.append(order, order[amended])
        executed = np.append(executed, executed[amended] + delay)
        self.by_time = np.argsort(executed, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[self.by_time] = np.arange(len(order))
        self.count = len(order)

        def arranged(first: Ints, second: Ints) -> Ints:
            return np.append(first, second)[self.by_time]

        self.executed = executed[self.by_time]
        self.order = order[self.by_time]
        self.kind = arranged(np.full(total, TRADE), np.where(is_cancel, CANCEL, CORRECT))
        #: The row an amendment is about; -1 for trades.
        self.about = arranged(np.full(total, -1), rank[amended])
        self.quantity = arranged(quantity, quantity[amended])
        self.price = arranged(price, np.where(is_cancel, price[amended], worse))
        self.is_maker = np.append(limit, limit[amended])[self.by_time]
        self.side = orders.side[self.order]
        self.strategy = orders.strategy[self.order]
        self.instrument = orders.instrument[self.order]
        self.venue = orders.venue[self.order]
        self.received = self.executed + random.lognormal(np.log(3000), 0.4, self.count).astype(np.int64)
        rate = np.array([venue.fee for venue in VENUES], np.int64)[self.venue]
        rate = np.where(self.is_maker, rate // 2, rate)
        #: Rounded to QUANTITY places; value has MONEY places, rate is in hundred-thousandths.
        self.value = self.quantity * self.price
        self.fee = (self.value * rate + 5 * 10**9) // 10**10

        sign = np.where(self.kind == CANCEL, -1, 1)
        self.flow_quantity = sign * self.side * self.quantity
        self.flow_cash = -sign * self.side * self.value
        self.flow_fee = sign * self.fee
        corrections = np.flatnonzero(self.kind == CORRECT)
        original = self.about[corrections]
        self.flow_quantity[corrections] -= (self.side * self.quantity)[original]
        self.flow_cash[corrections] += (self.side * self.value)[original]
        self.flow_fee[corrections] -= self.fee[original]

        #: When an order's last trade was, by order; 0 for those without any.
        self.last_of_order = np.zeros(orders.count, np.int64)
        trades = self.kind == TRADE
        np.maximum.at(self.last_of_order, self.order[trades], self.executed[trades])
        filled = self.last_of_order > 0
        ended = np.where(orders.status == FILLED, 1500, random.integers(1 * MICRO, 60 * MICRO, orders.count))
        orders.closed[filled] = (self.last_of_order + ended)[filled]
        cancels = self.kind == CANCEL
        np.subtract.at(orders.filled, self.order[cancels], self.quantity[cancels])
        orders.status[self.order[cancels]] = CANCELLED
