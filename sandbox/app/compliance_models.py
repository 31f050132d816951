# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The platform's tables that compliance asks for."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from .models import At, Base, Code, Id


class TradingEntry(Base):
    """An order, a cancel or a change of a limit. hash: SHA-256 of the one before and the entry (docs/compliance.md)."""

    __tablename__ = "trading_audit"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[At]
    actor: Mapped[str] = mapped_column(String(200))
    event: Mapped[Code]
    object: Mapped[str] = mapped_column(String(200))
    details: Mapped[str] = mapped_column(Text)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class KycDocument(Base):
    """A document by which a client was identified."""

    __tablename__ = "kyc_documents"
    id: Mapped[Id]
    account_code: Mapped[Code] = mapped_column(ForeignKey("accounts.code"))
    kind: Mapped[Code]
    expires_on: Mapped[date | None]
    verified_at: Mapped[At | None]


class KycScreening(Base):
    """When a client was compared with lists of sanctions, and what came of it."""

    __tablename__ = "kyc_screenings"
    id: Mapped[Id]
    account_code: Mapped[Code] = mapped_column(ForeignKey("accounts.code"))
    screened_at: Mapped[At]
    result: Mapped[Code]


class AmlReview(Base):
    """What somebody decided of a transaction."""

    __tablename__ = "aml_reviews"
    id: Mapped[Id]
    transaction_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("transactions.id"))
    outcome: Mapped[Code]
    reviewed_at: Mapped[At | None]


class DataRequest(Base):
    """What a data subject asked for. Its account is gone after an erasure."""

    __tablename__ = "data_requests"
    code: Mapped[Code] = mapped_column(primary_key=True)
    account_code: Mapped[Code]
    kind: Mapped[Code]
    regime: Mapped[Code]
    received_at: Mapped[At]
    extended_at: Mapped[At | None]
    closed_at: Mapped[At | None]
    outcome: Mapped[Code | None]


class RiskAssessment(Base):
    """When a risk was assessed."""

    __tablename__ = "risk_assessments"
    id: Mapped[Id]
    assessment: Mapped[str] = mapped_column(String(200))
    assessed_at: Mapped[At]
    next_due_on: Mapped[date | None]


class RegulatoryReport(Base):
    """A report to an authority, and its answer."""

    __tablename__ = "regulatory_reports"
    id: Mapped[Id]
    report: Mapped[Code]
    period_end: Mapped[date]
    sent_at: Mapped[At]
    acknowledged_at: Mapped[At | None]
    status: Mapped[Code]
