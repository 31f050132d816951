"""Heartbeats of strategies and platform, and the audit log

Revision ID: f26a9d7e518c
Revises: a41d6c3b90e8
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "f26a9d7e518c"
down_revision = "a41d6c3b90e8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "strategy_heartbeats",
        sa.Column("strategy_code", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["strategy_code"],
            ["strategies.code"],
        ),
        sa.PrimaryKeyConstraint("strategy_code"),
    )
    op.create_table(
        "heartbeat",
        sa.Column("instance", sa.String(length=40), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("interval_seconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("instance"),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("object", sa.String(length=200), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("audit_log")
    op.drop_table("heartbeat")
    op.drop_table("strategy_heartbeats")
