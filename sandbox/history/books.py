# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What follows from the executions: positions, transactions, cash, equity, and what the venues say of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from .market import DAY, HOUR, MICRO, Market
from .reference import INSTRUMENTS, MONEY, QUANTITY, STRATEGIES, VENUES
from .text import Bools, Ints
from .trading import TRADE, VENUE_CODES, Executions, Orders

ACCOUNTS = list(dict.fromkeys(strategy.account for strategy in STRATEGIES))
ACCOUNT_OF: Ints = np.array([ACCOUNTS.index(strategy.account) for strategy in STRATEGIES], np.int64)
FEE_TO_MONEY = 10 ** (MONEY - QUANTITY)
CURRENCY_OF_VENUE = {instrument.venue: instrument.currency for instrument in INSTRUMENTS}


def _venues_of(account: str) -> list[str]:
    used = {code.split(":")[0] for s in STRATEGIES if s.account == account for code in s.instruments}
    return [code for code in VENUE_CODES if code in used]


#: Every account at every venue where it trades, by number.
PLACES = [(account, venue) for account in ACCOUNTS for venue in _venues_of(account)]
_PLACE: Ints = np.full((len(ACCOUNTS), len(VENUES)), -1, np.int64)
for _number, (_account, _venue) in enumerate(PLACES):
    _PLACE[ACCOUNTS.index(_account), VENUE_CODES.index(_venue)] = _number


def place_of(strategies: Ints, venues: Ints) -> Ints:
    """The number of the place for a strategy and a venue."""
    return _PLACE[ACCOUNT_OF[strategies], venues]


def money(value: int, scale: int = MONEY) -> Decimal:
    """A scaled integer as a Decimal."""
    return Decimal(int(value)).scaleb(-scale)


@dataclass
class Transactions:
    """Movements of cash by time, as columns. strategy and order are -1 where there is none."""

    kind: Ints
    failed: Bools
    place: Ints
    strategy: Ints
    order: Ints
    amount: Ints
    created: Ints
    settled: Ints

    KINDS = ("deposit", "withdrawal", "trade", "correction", "fee")


def transactions(
    random: np.random.Generator, orders: Orders, executions: Executions, first: int, cutoff: int
) -> Transactions:
    """Deposits at the start, one movement per order that traded, one per amendment, and fees daily."""
    parts: list[tuple[Ints, ...]] = []

    def add(kind: int, place: Ints, strategy: Ints, order: Ints, amount: Ints, created: Ints, delay: Ints) -> None:
        parts.append((np.full(len(place), kind), place, strategy, order, amount, created, created + delay))

    places = np.arange(len(PLACES))
    none = np.full(len(PLACES), -1)
    capital = [
        sum(s.capital for s in STRATEGIES if s.account == account) // len(_venues_of(account)) for account, _ in PLACES
    ]
    # Twice the capital: what an account holds besides what its strategies may use.
    deposits = 2 * np.array(capital, np.int64) * 10**MONEY
    add(0, places, none, none, deposits, np.full(len(PLACES), first - HOUR), none * 0 + 40 * MICRO)
    for kind, days, share in ((0, 61, 20), (1, 32, 25), (0, 12, 40)):
        amount = deposits // share * (1 if kind == 0 else -1)
        add(kind, places, none, none, amount, cutoff - days * DAY + places * 90 * MICRO, none * 0 + 75 * MICRO)

    trades = executions.kind == TRADE
    cash = np.zeros(orders.count, np.int64)
    np.add.at(cash, executions.order[trades], executions.flow_cash[trades])
    done = np.flatnonzero(executions.last_of_order)
    delay = random.integers(200_000, 4 * MICRO, len(done))
    strategy = orders.strategy[done]
    place = place_of(strategy, orders.venue[done])
    add(2, place, strategy, done, cash[done], executions.last_of_order[done], delay)

    amended = np.flatnonzero(~trades)
    strategy, venue = executions.strategy[amended], executions.venue[amended]
    delay = np.full(len(amended), 2 * MICRO)
    add(
        3,
        place_of(strategy, venue),
        strategy,
        executions.order[amended],
        executions.flow_cash[amended],
        executions.executed[amended],
        delay,
    )

    counted = executions.executed <= cutoff
    day = executions.executed // DAY
    span = int(day.max(initial=0)) + 1
    key = (executions.strategy * len(VENUES) + executions.venue) * span + day
    keys, index = np.unique(key[counted], return_inverse=True)
    fees = np.zeros(len(keys), np.int64)
    np.add.at(fees, index, executions.flow_fee[counted])
    strategy, venue, day = keys // span // len(VENUES), keys // span % len(VENUES), keys % span
    at = np.minimum((day + 1) * DAY, cutoff)
    none = np.full(len(keys), -1)
    add(4, place_of(strategy, venue), strategy, none, -fees * FEE_TO_MONEY, at, none * 0)

    # Three that failed long ago, and that someone has dealt with.
    few = np.arange(min(3, len(PLACES)))
    add(
        1,
        few,
        few * 0 - 1,
        few * 0 - 1,
        -deposits[few] // 50,
        cutoff - (9 + few * 13) * DAY - 5 * HOUR,
        few * 0 + 30 * MICRO,
    )
    columns = [np.concatenate(column).astype(np.int64) for column in zip(*parts, strict=True)]
    failed = np.arange(len(columns[0])) >= len(columns[0]) - len(few)
    by_time = np.lexsort((columns[6], columns[5]))
    kinds, *others = (column[by_time] for column in columns)
    return Transactions(kinds, failed[by_time], *others)


class Books:
    """Sums of everything at the ends of days and now.

    :ivar days: the ends of the days (UTC), then the anchor
    :ivar quantity: positions by strategy, instrument and end; value of them: worth
    :ivar cutoffs: when venues' statements were drawn up: midnights, then the last cut-off
    """

    def __init__(
        self, market: Market, executions: Executions, moved: Transactions, first: int, cutoff: int, anchor: int
    ) -> None:
        midnights = np.arange(first // DAY + 1, anchor // DAY + 1, dtype=np.int64) * DAY
        self.days = np.unique(np.append(midnights, anchor))
        self.cutoffs = np.unique(np.append(midnights[midnights <= cutoff], cutoff))
        shape = (len(STRATEGIES), len(INSTRUMENTS))
        self.quantity = self._sums(shape, executions, self.days, executions.flow_quantity)
        cash = self._sums(shape, executions, self.days, executions.flow_cash).sum(axis=1)
        fees = self._sums(shape, executions, self.days, executions.flow_fee).sum(axis=1)
        self.prices = np.stack([market.at(number, self.days) for number in range(len(INSTRUMENTS))])
        self.worth = self.quantity * self.prices
        capital = np.array([[strategy.capital * 10**MONEY] for strategy in STRATEGIES], np.int64)
        self.equity = capital + cash - fees * FEE_TO_MONEY + self.worth.sum(axis=1)
        self.pnl = np.diff(self.equity, axis=1, prepend=capital)
        self.fees = np.diff(fees, axis=1, prepend=0)
        self.gross = np.abs(self.worth).sum(axis=1)
        self.net_cost = -self._sums(shape, executions, self.days[-1:], executions.flow_cash)[:, :, -1]
        self.traded_at = np.zeros(shape, np.int64)
        np.maximum.at(self.traded_at, (executions.strategy, executions.instrument), executions.executed)
        self.rate = self._busiest(executions)

        #: By account, instrument and cut-off.
        self.venue_quantity = np.zeros((len(ACCOUNTS), len(INSTRUMENTS), len(self.cutoffs)), np.int64)
        at_cutoffs = self._sums(shape, executions, self.cutoffs, executions.flow_quantity)
        np.add.at(self.venue_quantity, ACCOUNT_OF, at_cutoffs)
        self.balance = self._cash(moved, moved.settled.max(keepdims=True))[:, 0]
        self.venue_cash = self._cash(moved, self.cutoffs)
        self.balance_at = np.zeros(len(PLACES), np.int64)
        np.maximum.at(self.balance_at, moved.place[~moved.failed], moved.settled[~moved.failed])

    @staticmethod
    def _sums(shape: tuple[int, int], executions: Executions, ends: Ints, flow: Ints) -> Ints:
        """Running totals of a flow by strategy, instrument and end."""
        bins = np.searchsorted(ends, executions.executed, side="left")
        sums = np.zeros((*shape, len(ends) + 1), np.int64)
        np.add.at(sums, (executions.strategy, executions.instrument, bins), flow)
        return sums.cumsum(axis=2)[:, :, :-1]

    @staticmethod
    def _cash(moved: Transactions, ends: Ints) -> Ints:
        """Cash by place and end."""
        settled = ~moved.failed
        bins = np.searchsorted(ends, moved.settled[settled], side="left")
        sums = np.zeros((len(PLACES), len(ends) + 1), np.int64)
        np.add.at(sums, (moved.place[settled], bins), moved.amount[settled])
        return sums.cumsum(axis=1)[:, :-1]

    @staticmethod
    def _busiest(executions: Executions) -> Ints:
        """Most trades in a minute, by strategy: no fewer than its orders."""
        minute = executions.executed // (60 * MICRO)
        found = np.zeros(len(STRATEGIES), np.int64)
        for number in range(len(STRATEGIES)):
            counts = np.unique(minute[executions.strategy == number], return_counts=True)[1]
            found[number] = counts.max(initial=0)
        return found

    def risk_limits(self) -> list[tuple[str, str, str, Decimal, str, str | None]]:
        """scope, subject, metric, limit, unit, currency: the usual ones, above what is used now."""
        rows: list[tuple[str, str, str, Decimal, str, str | None]] = []
        worth, gross = self.worth[:, :, -1], self.gross[:, -1]
        groups = [("strategy", s.code, [n], s.currency) for n, s in enumerate(STRATEGIES)]
        for number, account in enumerate(ACCOUNTS):
            members = [int(n) for n in np.flatnonzero(number == ACCOUNT_OF)]
            groups.append(("account", account, members, STRATEGIES[members[0]].currency))
        for scope, subject, members, currency in groups:
            capital = sum(STRATEGIES[n].capital for n in members)
            equity, total = int(self.equity[members, -1].sum()), int(gross[members].sum())
            largest = int(np.abs(worth[members].sum(axis=0)).max())
            loss = max(0, -int(self.pnl[members, -2:].min(axis=1).sum()))
            rows += [
                (scope, subject, "gross_exposure", _limit(capital, money(total)), "currency", currency),
                (
                    scope,
                    subject,
                    "net_exposure",
                    _limit(capital * 0.8, money(abs(int(worth[members].sum())))),
                    "currency",
                    currency,
                ),
                (scope, subject, "daily_loss", _limit(capital * 0.06, money(loss)), "currency", currency),
                (scope, subject, "concentration", _limit(0.5, Decimal(largest) / equity), "ratio", None),
                (scope, subject, "leverage", _limit(1.5, Decimal(total) / equity), "ratio", None),
            ]
            busiest = Decimal(int(self.rate[members].sum()))
            rows.append((scope, subject, "order_rate", _limit(60, busiest), "per_minute", None))
        return rows


def _limit(usual: float, used: Decimal) -> Decimal:
    """The usual limit, or one that leaves a third free."""
    return max(Decimal(str(usual)), (used * Decimal("1.5")).quantize(Decimal("0.01")))
