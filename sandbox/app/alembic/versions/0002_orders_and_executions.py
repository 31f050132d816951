"""Orders and executions

Revision ID: 8b52e0c94a17
Revises: 3f1c8a2b7d40
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "8b52e0c94a17"
down_revision = "3f1c8a2b7d40"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("client_order_id", sa.String(length=40), nullable=False),
        sa.Column("venue_order_id", sa.String(length=40), nullable=True),
        sa.Column("strategy_code", sa.String(length=40), nullable=False),
        sa.Column("account_code", sa.String(length=40), nullable=False),
        sa.Column("venue_code", sa.String(length=40), nullable=False),
        sa.Column("instrument_code", sa.String(length=40), nullable=False),
        sa.Column("side", sa.String(length=40), nullable=False),
        sa.Column("order_type", sa.String(length=40), nullable=False),
        sa.Column("time_in_force", sa.String(length=40), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("limit_price", sa.Numeric(), nullable=True),
        sa.Column("filled_quantity", sa.Numeric(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("reject_reason", sa.Text(), nullable=True),
        sa.Column("arrival_price", sa.Numeric(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("side IN ('buy', 'sell')", name="orders_side"),
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
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("client_order_id"),
    )
    op.create_index(
        "orders_open", "orders", ["created_at"], unique=False, postgresql_where=sa.text("closed_at IS NULL")
    )
    op.create_index("orders_strategy_created", "orders", ["strategy_code", "created_at"], unique=False)
    op.create_table(
        "executions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("venue_code", sa.String(length=40), nullable=False),
        sa.Column("venue_execution_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("reference", sa.String(length=40), nullable=True),
        sa.Column("strategy_code", sa.String(length=40), nullable=False),
        sa.Column("account_code", sa.String(length=40), nullable=False),
        sa.Column("instrument_code", sa.String(length=40), nullable=False),
        sa.Column("side", sa.String(length=40), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("fee", sa.Numeric(), nullable=False),
        sa.Column("fee_currency", sa.String(length=8), nullable=False),
        sa.Column("liquidity", sa.String(length=40), nullable=True),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('trade', 'cancel', 'correct')", name="executions_kind"),
        sa.ForeignKeyConstraint(
            ["account_code"],
            ["accounts.code"],
        ),
        sa.ForeignKeyConstraint(
            ["instrument_code"],
            ["instruments.code"],
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
    op.create_index("executions_executed", "executions", ["executed_at"], unique=False)
    op.create_index("executions_order", "executions", ["order_id"], unique=False)
    op.create_index("executions_venue_id", "executions", ["venue_code", "venue_execution_id"], unique=False)


def downgrade() -> None:
    op.drop_table("executions")
    op.drop_table("orders")
