# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The platform's tables. Money, prices and quantities are numeric; times are timestamptz, in UTC."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, Numeric, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Id = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
Code = Annotated[str, mapped_column(String(40))]
Amount = Annotated[Decimal, mapped_column(Numeric)]
Currency = Annotated[str, mapped_column(String(8))]
At = Annotated[datetime, mapped_column(DateTime(timezone=True))]


def _reference(column: str) -> ForeignKey:
    return ForeignKey(column)


class Base(DeclarativeBase):
    """All tables."""


class User(Base):
    """Who works with the platform."""

    __tablename__ = "users"
    id: Mapped[Id]
    email: Mapped[str] = mapped_column(String(200), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[Code]
    last_login: Mapped[At | None]
    created_at: Mapped[At]


class Venue(Base):
    """Where is traded. timezone, opens_at and closes_at are the venue's own; null for one that never closes."""

    __tablename__ = "venues"
    code: Mapped[Code] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    calendar: Mapped[Code]
    timezone: Mapped[Code]
    opens_at: Mapped[time | None]
    closes_at: Mapped[time | None]
    statement_interval_seconds: Mapped[int]


class Instrument(Base):
    """What is traded, at one venue. Quantities are multiples of lot_size, prices of tick_size."""

    __tablename__ = "instruments"
    code: Mapped[Code] = mapped_column(primary_key=True)
    venue_code: Mapped[Code] = mapped_column(_reference("venues.code"))
    symbol: Mapped[Code]
    name: Mapped[str] = mapped_column(String(200))
    asset_class: Mapped[Code]
    currency: Mapped[Currency]
    tick_size: Mapped[Amount]
    lot_size: Mapped[Amount]
    multiplier: Mapped[Amount]


class Account(Base):
    """Accounts of clients and of the house, with what is known of their holders."""

    __tablename__ = "accounts"
    code: Mapped[Code] = mapped_column(primary_key=True)
    kind: Mapped[Code]
    holder: Mapped[str] = mapped_column(String(200))
    country: Mapped[str] = mapped_column(String(2))
    base_currency: Mapped[Currency]
    status: Mapped[Code]
    kyc_status: Mapped[Code]
    kyc_risk: Mapped[Code]
    kyc_verified_at: Mapped[At | None]
    kyc_review_due_at: Mapped[At | None]
    opened_at: Mapped[At]


class Strategy(Base):
    """What trades by itself. max_order_gap_seconds: the longest normal pause between orders, in open markets."""

    __tablename__ = "strategies"
    code: Mapped[Code] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    account_code: Mapped[Code] = mapped_column(_reference("accounts.code"))
    calendar: Mapped[Code]
    currency: Mapped[Currency]
    capital: Mapped[Amount]
    expected_state: Mapped[Code]
    heartbeat_interval_seconds: Mapped[int]
    max_order_gap_seconds: Mapped[int | None]
    config_file: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[At]


class Order(Base):
    """What was asked of a venue. arrival_price: the middle of the market when the strategy decided."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("side IN ('buy', 'sell')", name="orders_side"),
        Index("orders_strategy_created", "strategy_code", "created_at"),
        Index("orders_open", "created_at", postgresql_where=text("closed_at IS NULL")),
    )
    id: Mapped[Id]
    client_order_id: Mapped[Code] = mapped_column(unique=True)
    venue_order_id: Mapped[Code | None]
    strategy_code: Mapped[Code] = mapped_column(_reference("strategies.code"))
    account_code: Mapped[Code] = mapped_column(_reference("accounts.code"))
    venue_code: Mapped[Code] = mapped_column(_reference("venues.code"))
    instrument_code: Mapped[Code] = mapped_column(_reference("instruments.code"))
    side: Mapped[Code]
    order_type: Mapped[Code]
    time_in_force: Mapped[Code]
    quantity: Mapped[Amount]
    limit_price: Mapped[Amount | None]
    filled_quantity: Mapped[Amount]
    status: Mapped[Code]
    reject_reason: Mapped[str | None] = mapped_column(Text)
    arrival_price: Mapped[Amount | None]
    created_at: Mapped[At]
    sent_at: Mapped[At | None]
    acknowledged_at: Mapped[At | None]
    closed_at: Mapped[At | None]


class Execution(Base):
    """Fills, and the venue's later word on them: a cancel takes back the fill in reference, a correct replaces it."""

    __tablename__ = "executions"
    __table_args__ = (
        CheckConstraint("kind IN ('trade', 'cancel', 'correct')", name="executions_kind"),
        Index("executions_venue_id", "venue_code", "venue_execution_id"),
        Index("executions_order", "order_id"),
        Index("executions_executed", "executed_at"),
        Index("executions_instrument", "instrument_code", "executed_at"),
        Index("executions_reference", "venue_code", "reference", postgresql_where=text("reference IS NOT NULL")),
    )
    id: Mapped[Id]
    order_id: Mapped[int | None] = mapped_column(BigInteger, _reference("orders.id"))
    venue_code: Mapped[Code] = mapped_column(_reference("venues.code"))
    venue_execution_id: Mapped[Code]
    kind: Mapped[Code]
    reference: Mapped[Code | None]
    strategy_code: Mapped[Code] = mapped_column(_reference("strategies.code"))
    account_code: Mapped[Code] = mapped_column(_reference("accounts.code"))
    instrument_code: Mapped[Code] = mapped_column(_reference("instruments.code"))
    side: Mapped[Code]
    quantity: Mapped[Amount]
    price: Mapped[Amount]
    fee: Mapped[Amount]
    fee_currency: Mapped[Currency]
    liquidity: Mapped[Code | None]
    executed_at: Mapped[At]
    received_at: Mapped[At]


class Position(Base):
    """What is held now. net_cost: what it has cost, fees aside (negative: what it has brought)."""

    __tablename__ = "positions"
    strategy_code: Mapped[Code] = mapped_column(_reference("strategies.code"), primary_key=True)
    account_code: Mapped[Code] = mapped_column(_reference("accounts.code"), primary_key=True)
    instrument_code: Mapped[Code] = mapped_column(_reference("instruments.code"), primary_key=True)
    venue_code: Mapped[Code] = mapped_column(_reference("venues.code"))
    quantity: Mapped[Amount]
    net_cost: Mapped[Amount]
    updated_at: Mapped[At]


class Transaction(Base):
    """Movements of cash at a venue: of orders, corrections, fees, deposits. The settled ones add up to the cash."""

    __tablename__ = "transactions"
    __table_args__ = (
        Index("transactions_open", "created_at", postgresql_where=text("status <> 'settled'")),
        Index("transactions_account", "account_code", "venue_code", "currency"),
        Index("transactions_order", "order_id", postgresql_where=text("order_id IS NOT NULL")),
    )
    id: Mapped[Id]
    kind: Mapped[Code]
    status: Mapped[Code]
    account_code: Mapped[Code] = mapped_column(_reference("accounts.code"))
    venue_code: Mapped[Code] = mapped_column(_reference("venues.code"))
    strategy_code: Mapped[Code | None] = mapped_column(_reference("strategies.code"))
    order_id: Mapped[int | None] = mapped_column(BigInteger, _reference("orders.id"))
    currency: Mapped[Currency]
    amount: Mapped[Amount]
    reference: Mapped[Code]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[At]
    settled_at: Mapped[At | None]
    resolved_at: Mapped[At | None]


class CashBalance(Base):
    """Cash at a venue, now."""

    __tablename__ = "cash_balances"
    account_code: Mapped[Code] = mapped_column(_reference("accounts.code"), primary_key=True)
    venue_code: Mapped[Code] = mapped_column(_reference("venues.code"), primary_key=True)
    currency: Mapped[Currency] = mapped_column(primary_key=True)
    balance: Mapped[Amount]
    updated_at: Mapped[At]


class Price(Base):
    """The middle of the market, hourly while it is open."""

    __tablename__ = "prices"
    instrument_code: Mapped[Code] = mapped_column(_reference("instruments.code"), primary_key=True)
    observed_at: Mapped[At] = mapped_column(primary_key=True)
    price: Mapped[Amount]
    currency: Mapped[Currency]
    source: Mapped[Code]


class RiskLimit(Base):
    """The most a strategy or an account may have of a metric; unit is currency, ratio or per_minute."""

    __tablename__ = "risk_limits"
    __table_args__ = (CheckConstraint("scope IN ('strategy', 'account')", name="risk_limits_scope"),)
    id: Mapped[Id]
    scope: Mapped[Code]
    subject: Mapped[Code]
    metric: Mapped[Code]
    limit_value: Mapped[Amount]
    unit: Mapped[Code]
    currency: Mapped[Currency | None]
    warning_ratio: Mapped[Decimal] = mapped_column(Numeric(5, 4))
    active: Mapped[bool]
    updated_at: Mapped[At]


class Equity(Base):
    """A strategy's worth at the end of a day (UTC): capital and what trading made of it. pnl: the day's, after fees."""

    __tablename__ = "equity"
    strategy_code: Mapped[Code] = mapped_column(_reference("strategies.code"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    currency: Mapped[Currency]
    equity: Mapped[Amount]
    pnl: Mapped[Amount]
    fees: Mapped[Amount]
    gross_exposure: Mapped[Amount]
    as_of: Mapped[At]


class VenueStatement(Base):
    """What a venue sent: kind executions (since the one before), positions or cash, as of its cut-off."""

    __tablename__ = "venue_statements"
    __table_args__ = (Index("venue_statements_newest", "venue_code", "account_code", "kind", "as_of"),)
    id: Mapped[Id]
    venue_code: Mapped[Code] = mapped_column(_reference("venues.code"))
    account_code: Mapped[Code] = mapped_column(_reference("accounts.code"))
    kind: Mapped[Code]
    period_start: Mapped[At | None]
    as_of: Mapped[At]
    received_at: Mapped[At]
    record_count: Mapped[int]


class VenueExecution(Base):
    """A line of a statement of executions."""

    __tablename__ = "venue_executions"
    __table_args__ = (
        Index("venue_executions_venue_id", "venue_code", "venue_execution_id"),
        Index("venue_executions_reference", "venue_code", "reference", postgresql_where=text("reference IS NOT NULL")),
    )
    id: Mapped[Id]
    statement_id: Mapped[int] = mapped_column(BigInteger, _reference("venue_statements.id"))
    venue_code: Mapped[Code]
    account_code: Mapped[Code]
    venue_execution_id: Mapped[Code]
    venue_order_id: Mapped[Code | None]
    kind: Mapped[Code]
    reference: Mapped[Code | None]
    instrument_code: Mapped[Code]
    side: Mapped[Code]
    quantity: Mapped[Amount]
    price: Mapped[Amount]
    fee: Mapped[Amount]
    fee_currency: Mapped[Currency]
    executed_at: Mapped[At]


class VenuePosition(Base):
    """A line of a statement of positions."""

    __tablename__ = "venue_positions"
    statement_id: Mapped[int] = mapped_column(BigInteger, _reference("venue_statements.id"), primary_key=True)
    instrument_code: Mapped[Code] = mapped_column(primary_key=True)
    quantity: Mapped[Amount]


class VenueCash(Base):
    """A line of a statement of cash."""

    __tablename__ = "venue_cash"
    statement_id: Mapped[int] = mapped_column(BigInteger, _reference("venue_statements.id"), primary_key=True)
    currency: Mapped[Currency] = mapped_column(primary_key=True)
    balance: Mapped[Amount]


class StrategyHeartbeat(Base):
    """The last sign of life of a strategy."""

    __tablename__ = "strategy_heartbeats"
    strategy_code: Mapped[Code] = mapped_column(_reference("strategies.code"), primary_key=True)
    state: Mapped[Code]
    beat_at: Mapped[At]
    sequence: Mapped[int] = mapped_column(BigInteger)


class Heartbeat(Base):
    """The last sign of life of an instance of the platform: the newest change that a backup can be asked for."""

    __tablename__ = "heartbeat"
    instance: Mapped[Code] = mapped_column(primary_key=True)
    beat_at: Mapped[At]
    sequence: Mapped[int] = mapped_column(BigInteger)
    interval_seconds: Mapped[int]


class AuditEntry(Base):
    """Who did what. hash: SHA-256 of previous_hash and the entry, see docs/sandbox.md."""

    __tablename__ = "audit_log"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[At]
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[Code]
    object: Mapped[str] = mapped_column(String(200))
    details: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
