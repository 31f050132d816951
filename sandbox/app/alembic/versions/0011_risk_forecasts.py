"""What risk models forecast, who owns them, and what was used of limits

Revision ID: 4a9d6e25b8f1
Revises: 4f9a6c2e81b7
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4a9d6e25b8f1"
down_revision = "4f9a6c2e81b7"
branch_labels = None
depends_on = None

VIEWS = {
    "risk_forecasts": """
        SELECT scope, subject, day, currency, confidence, value_at_risk AS var, expected_shortfall AS es, model,
            version, made_at
        FROM risk_forecasts""",
    "risk_models": "SELECT model, version, owner, validated_on, next_due_on FROM risk_models",
    "limit_use": "SELECT scope, subject, metric, day, used FROM limit_use",
}


def upgrade() -> None:
    code = sa.String(length=40)
    op.create_table(
        "risk_forecasts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("scope", code, nullable=False),
        sa.Column("subject", code, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("currency", sa.String(length=8), nullable=False),
        sa.Column("confidence", sa.Numeric(precision=6, scale=5), nullable=False),
        sa.Column("value_at_risk", sa.Numeric(), nullable=False),
        sa.Column("expected_shortfall", sa.Numeric(), nullable=False),
        sa.Column("model", code, nullable=False),
        sa.Column("version", code, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("scope IN ('strategy', 'account', 'book')", name="risk_forecasts_scope"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scope", "subject", "day", "confidence", "model", "version"),
    )
    op.create_table(
        "risk_models",
        sa.Column("model", code, nullable=False),
        sa.Column("version", code, nullable=False),
        sa.Column("owner", code, nullable=False),
        sa.Column("validated_on", sa.Date(), nullable=True),
        sa.Column("next_due_on", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("model", "version"),
    )
    op.create_table(
        "limit_use",
        sa.Column("scope", code, nullable=False),
        sa.Column("subject", code, nullable=False),
        sa.Column("metric", code, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("used", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "subject", "metric", "day"),
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
    for name in ("limit_use", "risk_models", "risk_forecasts"):
        op.drop_table(name)
