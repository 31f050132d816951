"""What backtests expected of strategies that trade

Revision ID: 4f9a6c2e81b7
Revises: 8e4b27f0c9d3
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4f9a6c2e81b7"
down_revision = "8e4b27f0c9d3"
branch_labels = None
depends_on = None

VIEWS = {
    "backtest_expectations": """
        SELECT strategy_code AS strategy, day, currency, pnl, fees, funding
        FROM backtest_expectations""",
    "backtest_fills": """
        SELECT strategy_code AS strategy, client_order_id, instrument_code AS instrument, side, quantity, price,
            market_price, filled_at
        FROM backtest_fills""",
}


def upgrade() -> None:
    op.create_table(
        "backtest_expectations",
        sa.Column("strategy_code", sa.String(length=40), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("pnl", sa.Numeric(), nullable=False),
        sa.Column("fees", sa.Numeric(), nullable=False),
        sa.Column("funding", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(["strategy_code"], ["strategies.code"]),
        sa.PrimaryKeyConstraint("strategy_code", "day"),
    )
    op.create_table(
        "backtest_fills",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("strategy_code", sa.String(length=40), nullable=False),
        sa.Column("client_order_id", sa.String(length=40), nullable=False),
        sa.Column("instrument_code", sa.String(length=40), nullable=False),
        sa.Column("side", sa.String(length=40), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("market_price", sa.Numeric(), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["instrument_code"], ["instruments.code"]),
        sa.ForeignKeyConstraint(["strategy_code"], ["strategies.code"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW maintenance.{name} AS {query}")
    # As in the revision that made the schema.
    op.execute(
        """
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'maintenance') THEN
                GRANT SELECT ON ALL TABLES IN SCHEMA maintenance TO maintenance;
            END IF;
        END $$
        """
    )


def downgrade() -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW maintenance.{name}")
    op.drop_table("backtest_fills")
    op.drop_table("backtest_expectations")
