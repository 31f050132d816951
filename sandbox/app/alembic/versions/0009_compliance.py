"""What compliance asks for: the audit trail of trading, clients' papers, data subjects' requests, reports

Revision ID: 8e4b27f0c9d3
Revises: 6c0f48d1a2b9
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "8e4b27f0c9d3"
down_revision = "6c0f48d1a2b9"
branch_labels = None
depends_on = None

VIEWS = {
    "trading_audit": """
        SELECT id AS entry_id, at, actor, event, object, details, encode(hash, 'hex') AS hash
        FROM trading_audit""",
    "kyc_documents": """
        SELECT account_code AS account, kind, expires_on, verified_at
        FROM kyc_documents""",
    "kyc_screenings": """
        SELECT account_code AS account, screened_at, result
        FROM kyc_screenings""",
    "aml_reviews": """
        SELECT transaction_id, outcome, reviewed_at
        FROM aml_reviews""",
    "data_requests": """
        SELECT code AS request_id, kind, regime, received_at, extended_at, closed_at, outcome
        FROM data_requests""",
    "erasures": """
        SELECT r.code AS request_id, p.place, p.remaining
        FROM data_requests r CROSS JOIN LATERAL (VALUES
            ('accounts', (SELECT count(*) FROM accounts a WHERE a.code = r.account_code)),
            ('kyc_documents', (SELECT count(*) FROM kyc_documents d WHERE d.account_code = r.account_code)),
            ('kyc_screenings', (SELECT count(*) FROM kyc_screenings s WHERE s.account_code = r.account_code))
        ) AS p (place, remaining)
        WHERE r.kind = 'erasure' AND r.outcome = 'fulfilled'""",
    "retention": """
        SELECT 'audit log' AS record_class, (SELECT min(at) FROM audit_log) AS oldest_at, 2557 AS keep_days,
            false AS legal_hold
        UNION ALL SELECT 'orders', (SELECT min(created_at) FROM orders), 2557, false
        UNION ALL SELECT 'closed requests', (SELECT min(closed_at) FROM data_requests), 1095, false""",
    "risk_assessments": """
        SELECT assessment, assessed_at, next_due_on
        FROM risk_assessments""",
    "regulatory_reports": """
        SELECT report, period_end, sent_at, acknowledged_at, status
        FROM regulatory_reports""",
}


def upgrade() -> None:
    at = sa.DateTime(timezone=True)
    op.create_table(
        "trading_audit",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", at, nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("object", sa.String(length=200), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    for name, columns in {
        "kyc_documents": (
            sa.Column("account_code", sa.String(length=40), nullable=False),
            sa.Column("kind", sa.String(length=40), nullable=False),
            sa.Column("expires_on", sa.Date(), nullable=True),
            sa.Column("verified_at", at, nullable=True),
            sa.ForeignKeyConstraint(["account_code"], ["accounts.code"]),
        ),
        "kyc_screenings": (
            sa.Column("account_code", sa.String(length=40), nullable=False),
            sa.Column("screened_at", at, nullable=False),
            sa.Column("result", sa.String(length=40), nullable=False),
            sa.ForeignKeyConstraint(["account_code"], ["accounts.code"]),
        ),
        "aml_reviews": (
            sa.Column("transaction_id", sa.BigInteger(), nullable=False),
            sa.Column("outcome", sa.String(length=40), nullable=False),
            sa.Column("reviewed_at", at, nullable=True),
            sa.ForeignKeyConstraint(["transaction_id"], ["transactions.id"]),
        ),
        "risk_assessments": (
            sa.Column("assessment", sa.String(length=200), nullable=False),
            sa.Column("assessed_at", at, nullable=False),
            sa.Column("next_due_on", sa.Date(), nullable=True),
        ),
        "regulatory_reports": (
            sa.Column("report", sa.String(length=40), nullable=False),
            sa.Column("period_end", sa.Date(), nullable=False),
            sa.Column("sent_at", at, nullable=False),
            sa.Column("acknowledged_at", at, nullable=True),
            sa.Column("status", sa.String(length=40), nullable=False),
        ),
    }.items():
        id = sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False)
        op.create_table(name, id, *columns, sa.PrimaryKeyConstraint("id"))
    op.create_table(
        "data_requests",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("account_code", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("regime", sa.String(length=40), nullable=False),
        sa.Column("received_at", at, nullable=False),
        sa.Column("extended_at", at, nullable=True),
        sa.Column("closed_at", at, nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("code"),
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
    for name in (
        "data_requests",
        "regulatory_reports",
        "risk_assessments",
        "aml_reviews",
        "kyc_screenings",
        "kyc_documents",
        "trading_audit",
    ):
        op.drop_table(name)
