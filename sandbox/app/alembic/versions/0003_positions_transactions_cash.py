"""Positions, transactions and cash

Revision ID: c7d94e13f6a2
Revises: 8b52e0c94a17
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "c7d94e13f6a2"
down_revision = "8b52e0c94a17"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "positions",
        sa.Column("strategy_code", sa.String(length=40), nullable=False),
        sa.Column("account_code", sa.String(length=40), nullable=False),
        sa.Column("instrument_code", sa.String(length=40), nullable=False),
        sa.Column("venue_code", sa.String(length=40), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("net_cost", sa.Numeric(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_code"],
            ["accounts.code"],
        ),
        sa.ForeignKeyConstraint(
            ["instrument_code"],
            ["instruments.code"],
        ),
        sa.ForeignKeyConstraint(
            ["strategy_code"],
            ["strategies.code"],
        ),
        sa.ForeignKeyConstraint(
            ["venue_code"],
            ["venues.code"],
        ),
        sa.PrimaryKeyConstraint("strategy_code", "account_code", "instrument_code"),
    )
    op.create_table(
        "transactions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("account_code", sa.String(length=40), nullable=False),
        sa.Column("venue_code", sa.String(length=40), nullable=False),
        sa.Column("strategy_code", sa.String(length=40), nullable=True),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("reference", sa.String(length=40), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_code"],
            ["accounts.code"],
        ),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.ForeignKeyConstraint(
            ["strategy_code"],
            ["strategies.code"],
        ),
        sa.ForeignKeyConstraint(
            ["venue_code"],
            ["venues.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("transactions_account", "transactions", ["account_code", "venue_code", "currency"], unique=False)
    op.create_index(
        "transactions_open",
        "transactions",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status <> 'settled'"),
    )
    op.create_index(
        "transactions_order",
        "transactions",
        ["order_id"],
        unique=False,
        postgresql_where=sa.text("order_id IS NOT NULL"),
    )
    op.create_table(
        "cash_balances",
        sa.Column("account_code", sa.String(length=40), nullable=False),
        sa.Column("venue_code", sa.String(length=40), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("balance", sa.Numeric(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_code"],
            ["accounts.code"],
        ),
        sa.ForeignKeyConstraint(
            ["venue_code"],
            ["venues.code"],
        ),
        sa.PrimaryKeyConstraint("account_code", "venue_code", "currency"),
    )


def downgrade() -> None:
    op.drop_table("cash_balances")
    op.drop_table("transactions")
    op.drop_table("positions")
