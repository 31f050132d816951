# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The history as tables to be copied into the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from . import backtests, compliance, records, risk, text
from .books import ACCOUNT_OF, ACCOUNTS, CURRENCY_OF_VENUE, PLACES, Books, Transactions, money, place_of, transactions
from .market import DAY, HOUR, MICRO, Market, is_open, micros
from .reference import INSTRUMENTS, MONEY, PRICE, QUANTITY, STRATEGIES, VENUES
from .text import Bools, Column, Ints
from .trading import (
    INSTRUMENT_CODES,
    KINDS,
    OPEN,
    REJECT_REASONS,
    REJECTED,
    STATUSES,
    TRADE,
    VENUE_CODES,
    Executions,
    Orders,
)

STRATEGY_CODES = [strategy.code for strategy in STRATEGIES]
PREFIXES = [venue.prefix for venue in VENUES]
SIDES = (None, "buy", "sell")


@dataclass
class Table:
    """One table: its rows as text when asked."""

    name: str
    columns: Sequence[str]
    count: int
    lines: Callable[[], Iterator[bytes]]

    @property
    def has_sequence(self) -> bool:
        """Whether the database numbers new rows by itself."""
        return "id" in self.columns and not self.name.endswith("_audit") and self.name != "audit_log"


def bulk(name: str, count: int, **columns: Column) -> Table:
    """A table of many rows."""
    return Table(name, tuple(columns), count, lambda: text.lines(list(columns.values()), count))


def listed(name: str, columns: str, rows: Sequence[Sequence[Any]]) -> Table:
    """A table of few rows."""
    return Table(name, columns.split(), len(rows), lambda: text.plain(rows))


def moment(value: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(value))


def make_tables(
    seed: int, anchor_at: datetime, days: int, orders: int, clients: int, users: int, entries: int
) -> list[Table]:
    """All tables with rows."""
    anchor = micros(anchor_at)
    # Venues draw their statements up at full hours, and need some minutes to send them.
    cutoff = (anchor - 5 * 60 * MICRO) // HOUR * HOUR
    first = anchor - days * DAY
    # Each part has its own stream of numbers: a change of one leaves the others as they are.
    streams = [np.random.default_rng([seed, number]) for number in range(8)]
    market = Market(streams[0], first, anchor)
    book = Orders(streams[1], market, first, cutoff, anchor, orders)
    fills = Executions(streams[2], book, cutoff)
    moved = transactions(streams[3], book, fills, first, cutoff)
    books = Books(market, fills, moved, first, cutoff, anchor)
    people = records.users(streams[4], anchor_at, users)
    accounts = records.accounts(streams[4], anchor_at, clients)
    tested = backtests.fills(market, book, fills)
    trail = compliance.Trail(book, len(books.risk_limits()), anchor - 20 * DAY)
    return [
        *_reference(anchor_at, people, accounts, longest_pauses(book, days)),
        _orders(book),
        _executions(book, fills),
        _transactions(moved),
        *_statements(book, fills, books, cutoff),
        *_books(books, anchor_at),
        _prices(market, first, anchor),
        listed(
            "audit_log",
            "id at actor action object details previous_hash hash",
            records.audit_log(streams[5], anchor_at, days, people, entries),
        ),
        listed(
            "backtest_expectations",
            "strategy_code day currency pnl fees funding",
            backtests.expectations(streams[7], book, fills, books, tested),
        ),
        bulk("backtest_fills", len(tested.order), **backtests.columns(book, tested)),
        Table("trading_audit", compliance.TRAIL, trail.count, trail.lines),
        *(listed(*each) for each in compliance.tables(streams[6], anchor_at, accounts)),
        *(listed(*each) for each in risk.tables(books, fills, anchor_at)),
    ]


def longest_pauses(book: Orders, days: int) -> list[int]:
    """Of each strategy the longest pause between orders to be called normal, in s.

    A day, as nothing trades after the anchor, and twenty times the usual pause: a chance of 1 to 400 million.
    """
    counts = np.bincount(book.strategy, minlength=len(STRATEGIES))
    return [86400 + 20 * days * 86400 // max(int(count), 1) for count in counts]


def _reference(anchor: datetime, people: list[Any], accounts: list[Any], pauses: list[int]) -> list[Table]:
    started = anchor - timedelta(days=95)
    return [
        listed("users", "id email name role last_login created_at", people),
        listed(
            "venues",
            "code name calendar timezone opens_at closes_at statement_interval_seconds",
            [(v.code, v.name, v.calendar, v.timezone, v.opens, v.closes, 86400) for v in VENUES],
        ),
        listed(
            "instruments",
            "code venue_code symbol name asset_class currency tick_size lot_size multiplier",
            [
                (
                    i.code,
                    i.venue,
                    i.symbol,
                    i.name,
                    i.asset_class,
                    i.currency,
                    money(i.tick, PRICE),
                    money(i.lot, QUANTITY),
                    1,
                )
                for i in INSTRUMENTS
            ],
        ),
        listed(
            "accounts",
            "code kind holder country base_currency status kyc_status kyc_risk kyc_verified_at kyc_review_due_at"
            " opened_at",
            accounts,
        ),
        listed(
            "strategies",
            "code name account_code calendar currency capital expected_state heartbeat_interval_seconds"
            " max_order_gap_seconds config_file started_at",
            [
                (
                    s.code,
                    s.name,
                    s.account,
                    s.calendar,
                    s.currency,
                    s.capital,
                    s.state,
                    s.heartbeat,
                    pause,
                    records.config_file(s.code),
                    started,
                )
                for s, pause in zip(STRATEGIES, pauses, strict=True)
            ],
        ),
        listed(
            "strategy_heartbeats",
            "strategy_code state beat_at sequence",
            [(s.code, s.state, anchor, 1) for s in STRATEGIES],
        ),
        listed("heartbeat", "instance beat_at sequence interval_seconds", [("tradingflow-1", anchor, 1, 2)]),
    ]


def _orders(book: Orders) -> Table:
    number = np.arange(1, book.count + 1)
    rejected, market_order = book.status == REJECTED, ~book.is_limit
    return bulk(
        "orders",
        book.count,
        id=text.integer(number),
        client_order_id=text.integer(number, "TF-", 9),
        venue_order_id=_venue_order(book, np.arange(book.count), rejected),
        strategy_code=text.choice(book.strategy, STRATEGY_CODES),
        account_code=text.choice(ACCOUNT_OF[book.strategy], ACCOUNTS),
        venue_code=text.choice(book.venue, VENUE_CODES),
        instrument_code=text.choice(book.instrument, INSTRUMENT_CODES),
        side=text.choice(book.side, SIDES),
        order_type=text.choice(book.is_limit.astype(np.int8), ("market", "limit")),
        time_in_force=text.choice(np.where(book.status == OPEN, 2, book.is_limit), ("ioc", "day", "gtc")),
        quantity=text.decimal(book.quantity, QUANTITY),
        limit_price=text.decimal(book.limit, PRICE, market_order),
        filled_quantity=text.decimal(book.filled, QUANTITY),
        status=text.choice(book.status, STATUSES),
        reject_reason=text.choice(np.where(rejected, book.reason, len(REJECT_REASONS)), (*REJECT_REASONS, None)),
        arrival_price=text.decimal(book.arrival, PRICE),
        created_at=text.timestamp(book.created),
        sent_at=text.timestamp(book.sent),
        acknowledged_at=text.timestamp(book.acknowledged, rejected),
        closed_at=text.timestamp(book.closed, book.status == OPEN),
    )


def _venue_order(book: Orders, orders: Ints, missing: Bools | None = None) -> Column:
    """What venues call orders: their prefix and a number."""
    return text.joined([text.choice(book.venue[orders], PREFIXES), text.integer(orders + 1, "-", 9)], missing)


def _execution_ids(fills: Executions, rows: Ints) -> tuple[Column, Column]:
    """What venues call executions, and what amendments refer to."""
    names = text.joined([text.choice(fills.venue[rows], PREFIXES), text.integer(rows + 1, "-E", 10)])
    about = np.maximum(fills.about[rows], 0)
    reference = [text.choice(fills.venue[about], PREFIXES), text.integer(about + 1, "-E", 10)]
    return names, text.joined(reference, fills.kind[rows] == TRADE)


def _executions(book: Orders, fills: Executions) -> Table:
    rows = np.arange(fills.count)
    name, reference = _execution_ids(fills, rows)
    return bulk(
        "executions",
        fills.count,
        id=text.integer(rows + 1),
        order_id=text.integer(fills.order + 1),
        venue_code=text.choice(fills.venue, VENUE_CODES),
        venue_execution_id=name,
        kind=text.choice(fills.kind, KINDS),
        reference=reference,
        strategy_code=text.choice(fills.strategy, STRATEGY_CODES),
        account_code=text.choice(ACCOUNT_OF[fills.strategy], ACCOUNTS),
        instrument_code=text.choice(fills.instrument, INSTRUMENT_CODES),
        side=text.choice(fills.side, SIDES),
        quantity=text.decimal(fills.quantity, QUANTITY),
        price=text.decimal(fills.price, PRICE),
        fee=text.decimal(fills.fee, QUANTITY),
        fee_currency=text.choice(fills.venue, [CURRENCY_OF_VENUE[code] for code in VENUE_CODES]),
        liquidity=text.choice(fills.is_maker.astype(np.int8), ("taker", "maker")),
        executed_at=text.timestamp(fills.executed),
        received_at=text.timestamp(fills.received),
    )


def _transactions(moved: Transactions) -> Table:
    count = len(moved.kind)
    number = np.arange(1, count + 1)
    failed = moved.failed.astype(np.int8)
    return bulk(
        "transactions",
        count,
        id=text.integer(number),
        kind=text.choice(moved.kind, moved.KINDS),
        status=text.choice(failed, ("settled", "failed")),
        account_code=text.choice(moved.place, [account for account, _ in PLACES]),
        venue_code=text.choice(moved.place, [venue for _, venue in PLACES]),
        strategy_code=text.choice(moved.strategy, (*STRATEGY_CODES, None)),
        order_id=text.integer(np.maximum(moved.order, 0) + 1, missing=moved.order < 0),
        currency=text.choice(moved.place, [CURRENCY_OF_VENUE[venue] for _, venue in PLACES]),
        amount=text.decimal(moved.amount, MONEY),
        reference=text.integer(number, "TX-", 9),
        error=text.choice(failed, (None, "bank returned the payment: reference unknown")),
        created_at=text.timestamp(moved.created),
        settled_at=text.timestamp(moved.settled, moved.failed),
        resolved_at=text.timestamp(moved.created + 2 * HOUR, ~moved.failed),
    )


def _statements(book: Orders, fills: Executions, books: Books, cutoff: int) -> list[Table]:
    """Each place's statements at each cut-off: executions since the one before, positions, cash."""
    ends = books.cutoffs
    reported = np.flatnonzero(fills.executed <= cutoff)
    place = place_of(fills.strategy[reported], fills.venue[reported])
    period = np.searchsorted(ends, fills.executed[reported], side="left")
    counts = np.zeros((len(ends), len(PLACES)), np.int64)
    np.add.at(counts, (period, place), 1)

    def statement(end: Any, where: Any, kind: int) -> Any:
        return (end * len(PLACES) + where) * 3 + kind + 1

    statements, positions, cash = [], [], []
    for end, as_of in enumerate(map(moment, ends)):
        received = as_of + timedelta(minutes=3)
        before = moment(ends[end - 1]) if end else None
        for where, (account, venue) in enumerate(PLACES):
            number = ACCOUNTS.index(account)
            held = []
            for instrument, code in enumerate(INSTRUMENT_CODES):
                quantity = books.venue_quantity[number, instrument, end]
                if quantity and INSTRUMENTS[instrument].venue == venue:
                    held.append((statement(end, where, 1), code, money(quantity, QUANTITY)))
            positions += held
            currency = CURRENCY_OF_VENUE[venue]
            cash.append((statement(end, where, 2), currency, money(books.venue_cash[where, end])))
            sizes = {"executions": int(counts[end, where]), "positions": len(held), "cash": 1}
            for kind, (content, count) in enumerate(sizes.items()):
                statements.append(
                    (
                        statement(end, where, kind),
                        venue,
                        account,
                        content,
                        before if kind == 0 else None,
                        as_of,
                        received,
                        count,
                    )
                )
    name, reference = _execution_ids(fills, reported)
    return [
        listed(
            "venue_statements",
            "id venue_code account_code kind period_start as_of received_at record_count",
            statements,
        ),
        listed("venue_positions", "statement_id instrument_code quantity", positions),
        listed("venue_cash", "statement_id currency balance", cash),
        bulk(
            "venue_executions",
            len(reported),
            id=text.integer(np.arange(1, len(reported) + 1)),
            statement_id=text.integer(statement(period, place, 0)),
            venue_code=text.choice(fills.venue[reported], VENUE_CODES),
            account_code=text.choice(ACCOUNT_OF[fills.strategy[reported]], ACCOUNTS),
            venue_execution_id=name,
            venue_order_id=_venue_order(book, fills.order[reported]),
            kind=text.choice(fills.kind[reported], KINDS),
            reference=reference,
            instrument_code=text.choice(fills.instrument[reported], INSTRUMENT_CODES),
            side=text.choice(fills.side[reported], SIDES),
            quantity=text.decimal(fills.quantity[reported], QUANTITY),
            price=text.decimal(fills.price[reported], PRICE),
            fee=text.decimal(fills.fee[reported], QUANTITY),
            fee_currency=text.choice(fills.venue[reported], [CURRENCY_OF_VENUE[code] for code in VENUE_CODES]),
            executed_at=text.timestamp(fills.executed[reported]),
        ),
    ]


def _books(books: Books, anchor: datetime) -> list[Table]:
    positions = [
        (
            STRATEGIES[s].code,
            STRATEGIES[s].account,
            INSTRUMENTS[i].code,
            INSTRUMENTS[i].venue,
            money(books.quantity[s, i, -1], QUANTITY),
            money(books.net_cost[s, i]),
            moment(books.traded_at[s, i]),
        )
        for s, i in np.argwhere(books.traded_at)
    ]
    balances = [
        (account, venue, CURRENCY_OF_VENUE[venue], money(books.balance[where]), moment(books.balance_at[where]))
        for where, (account, venue) in enumerate(PLACES)
    ]
    equity = [
        (
            strategy.code,
            moment(end - 1).date(),
            strategy.currency,
            money(books.equity[s, d]),
            money(books.pnl[s, d]),
            money(books.fees[s, d], QUANTITY),
            money(books.gross[s, d]),
            moment(end),
        )
        for s, strategy in enumerate(STRATEGIES)
        for d, end in enumerate(books.days)
    ]
    limits = [
        (number, *row, "0.8", True, anchor - timedelta(days=20)) for number, row in enumerate(books.risk_limits(), 1)
    ]
    return [
        listed(
            "positions", "strategy_code account_code instrument_code venue_code quantity net_cost updated_at", positions
        ),
        listed("cash_balances", "account_code venue_code currency balance updated_at", balances),
        listed("equity", "strategy_code day currency equity pnl fees gross_exposure as_of", equity),
        listed(
            "risk_limits", "id scope subject metric limit_value unit currency warning_ratio active updated_at", limits
        ),
    ]


def _prices(market: Market, first: int, anchor: int) -> Table:
    """Hourly while the market is open, and one at the anchor."""
    instruments, moments, prices = [], [], []
    hours = np.unique(np.append(market.knots[(market.knots >= first) & (market.knots <= anchor)], anchor))
    for number, each in enumerate(INSTRUMENTS):
        wanted = hours[is_open(market.periods[each.venue], hours) | (hours == anchor)]
        instruments.append(np.full(len(wanted), number))
        moments.append(wanted)
        prices.append(market.at(number, wanted))
    instrument = np.concatenate(instruments)
    return bulk(
        "prices",
        len(instrument),
        instrument_code=text.choice(instrument, INSTRUMENT_CODES),
        observed_at=text.timestamp(np.concatenate(moments)),
        price=text.decimal(np.concatenate(prices), PRICE),
        currency=text.choice(instrument, [each.currency for each in INSTRUMENTS]),
        source=text.constant("consolidated", len(instrument)),
    )
