# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What backtests expected of strategies that trade."""

from __future__ import annotations

from datetime import date

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from .models import Amount, At, Base, Code, Id


class BacktestExpectation(Base):
    """The result of a day, net of fees and funding, in the strategy's currency."""

    __tablename__ = "backtest_expectations"
    strategy_code: Mapped[Code] = mapped_column(ForeignKey("strategies.code"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    currency: Mapped[str] = mapped_column(String(8))
    pnl: Mapped[Amount]
    fees: Mapped[Amount]
    funding: Mapped[Amount]


class BacktestFill(Base):
    """What a backtest filled for an order of the same signal. market_price: its data's price, before its slippage."""

    __tablename__ = "backtest_fills"
    id: Mapped[Id]
    strategy_code: Mapped[Code] = mapped_column(ForeignKey("strategies.code"))
    client_order_id: Mapped[Code]
    instrument_code: Mapped[Code] = mapped_column(ForeignKey("instruments.code"))
    side: Mapped[Code]
    quantity: Mapped[Amount]
    price: Mapped[Amount]
    market_price: Mapped[Amount]
    filled_at: Mapped[At]
