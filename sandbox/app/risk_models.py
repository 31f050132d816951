# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The platform's tables of risk models: what they forecast, who owns them, and what was used of limits."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import CheckConstraint, Numeric, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from .models import Amount, At, Base, Code, Currency, Id


class RiskForecast(Base):
    """What a model said that a day may cost. Losses are above 0."""

    __tablename__ = "risk_forecasts"
    __table_args__ = (
        CheckConstraint("scope IN ('strategy', 'account', 'book')", name="risk_forecasts_scope"),
        UniqueConstraint("scope", "subject", "day", "confidence", "model", "version"),
    )
    id: Mapped[Id]
    scope: Mapped[Code]
    subject: Mapped[Code]
    day: Mapped[date]
    currency: Mapped[Currency]
    confidence: Mapped[Decimal] = mapped_column(Numeric(6, 5))
    value_at_risk: Mapped[Amount]
    expected_shortfall: Mapped[Amount]
    model: Mapped[Code]
    version: Mapped[Code]
    made_at: Mapped[At]


class RiskModel(Base):
    """A version of a model, who owns it, and when it was validated."""

    __tablename__ = "risk_models"
    model: Mapped[Code] = mapped_column(primary_key=True)
    version: Mapped[Code] = mapped_column(primary_key=True)
    owner: Mapped[Code]
    validated_on: Mapped[date | None]
    next_due_on: Mapped[date | None]


class LimitUse(Base):
    """The most that was used of a limit's metric on a day."""

    __tablename__ = "limit_use"
    scope: Mapped[Code] = mapped_column(primary_key=True)
    subject: Mapped[Code] = mapped_column(primary_key=True)
    metric: Mapped[Code] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    used: Mapped[Amount]
