"""Prices, equity and risk limits

Revision ID: 5e08b7f2d391
Revises: c7d94e13f6a2
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5e08b7f2d391"
down_revision = "c7d94e13f6a2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prices",
        sa.Column("instrument_code", sa.String(length=40), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("source", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument_code"],
            ["instruments.code"],
        ),
        sa.PrimaryKeyConstraint("instrument_code", "observed_at"),
    )
    op.create_table(
        "equity",
        sa.Column("strategy_code", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("equity", sa.Numeric(), nullable=False),
        sa.Column("pnl", sa.Numeric(), nullable=False),
        sa.Column("fees", sa.Numeric(), nullable=False),
        sa.Column("gross_exposure", sa.Numeric(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["strategy_code"],
            ["strategies.code"],
        ),
        sa.PrimaryKeyConstraint("strategy_code", "day"),
    )
    op.create_table(
        "risk_limits",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("scope", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.Column("metric", sa.String(length=40), nullable=False),
        sa.Column("limit_value", sa.Numeric(), nullable=False),
        sa.Column("unit", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=True),
        sa.Column("warning_ratio", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("scope IN ('strategy', 'account')", name="risk_limits_scope"),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("risk_limits")
    op.drop_table("equity")
    op.drop_table("prices")
