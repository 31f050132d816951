"""Find an instrument's executions in the order of time

Revision ID: 2d7e91b3c6f0
Revises: 4a9d6e25b8f1
"""

from __future__ import annotations

from alembic import op

revision = "2d7e91b3c6f0"
down_revision = "4a9d6e25b8f1"
phase = "expand"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The largest table, which trading writes to: an ordinary CREATE INDEX would stop it.
    with op.get_context().autocommit_block():
        op.create_index(
            "executions_instrument",
            "executions",
            ["instrument_code", "executed_at"],
            unique=False,
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("executions_instrument", table_name="executions", postgresql_concurrently=True)
