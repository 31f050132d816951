"""Find the few executions that amend others without reading all of them

Revision ID: 6c0f48d1a2b9
Revises: 19b3e7c05d64
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "6c0f48d1a2b9"
down_revision = "19b3e7c05d64"
branch_labels = None
depends_on = None

TABLES = ("executions", "venue_executions")


def upgrade() -> None:
    for table in TABLES:
        op.create_index(
            f"{table}_reference",
            table,
            ["venue_code", "reference"],
            unique=False,
            postgresql_where=sa.text("reference IS NOT NULL"),
        )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_index(f"{table}_reference", table_name=table)
