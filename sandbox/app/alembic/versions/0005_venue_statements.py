"""What venues send: statements of executions, positions and cash

Revision ID: a41d6c3b90e8
Revises: 5e08b7f2d391
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a41d6c3b90e8"
down_revision = "5e08b7f2d391"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "venue_statements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("venue_code", sa.String(length=40), nullable=False),
        sa.Column("account_code", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("record_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_code"],
            ["accounts.code"],
        ),
        sa.ForeignKeyConstraint(
            ["venue_code"],
            ["venues.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "venue_statements_newest", "venue_statements", ["venue_code", "account_code", "kind", "as_of"], unique=False
    )
    op.create_table(
        "venue_executions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("statement_id", sa.BigInteger(), nullable=False),
        sa.Column("venue_code", sa.String(length=40), nullable=False),
        sa.Column("account_code", sa.String(length=40), nullable=False),
        sa.Column("venue_execution_id", sa.String(length=40), nullable=False),
        sa.Column("venue_order_id", sa.String(length=40), nullable=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("reference", sa.String(length=40), nullable=True),
        sa.Column("instrument_code", sa.String(length=40), nullable=False),
        sa.Column("side", sa.String(length=40), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=False),
        sa.Column("fee", sa.Numeric(), nullable=False),
        sa.Column("fee_currency", sa.String(length=8), nullable=False),
        sa.Column("executed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["statement_id"],
            ["venue_statements.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("venue_executions_venue_id", "venue_executions", ["venue_code", "venue_execution_id"], unique=False)
    op.create_table(
        "venue_positions",
        sa.Column("statement_id", sa.BigInteger(), nullable=False),
        sa.Column("instrument_code", sa.String(length=40), nullable=False),
        sa.Column("quantity", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(
            ["statement_id"],
            ["venue_statements.id"],
        ),
        sa.PrimaryKeyConstraint("statement_id", "instrument_code"),
    )
    op.create_table(
        "venue_cash",
        sa.Column("statement_id", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("balance", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(
            ["statement_id"],
            ["venue_statements.id"],
        ),
        sa.PrimaryKeyConstraint("statement_id", "currency"),
    )


def downgrade() -> None:
    op.drop_table("venue_cash")
    op.drop_table("venue_positions")
    op.drop_table("venue_executions")
    op.drop_table("venue_statements")
