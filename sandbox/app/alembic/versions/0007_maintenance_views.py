"""The schema "maintenance": what the platform promises to its maintenance

Revision ID: 19b3e7c05d64
Revises: f26a9d7e518c
"""

from __future__ import annotations

from alembic import op

revision = "19b3e7c05d64"
down_revision = "f26a9d7e518c"
branch_labels = None
depends_on = None

VIEWS = {
    "strategies": """
        SELECT s.code AS strategy, s.name, s.account_code AS account, s.calendar, s.currency, s.capital,
            s.expected_state, h.state AS observed_state, s.heartbeat_interval_seconds,
            h.beat_at AS last_heartbeat_at, s.max_order_gap_seconds, s.started_at
        FROM strategies s LEFT JOIN strategy_heartbeats h ON h.strategy_code = s.code""",
    "orders": """
        SELECT id AS order_id, client_order_id, venue_order_id, strategy_code AS strategy, account_code AS account,
            venue_code AS venue, instrument_code AS instrument, side, order_type, time_in_force, quantity, limit_price,
            filled_quantity, status, reject_reason, arrival_price, created_at, sent_at, acknowledged_at, closed_at
        FROM orders""",
    "executions": """
        SELECT id AS execution_id, order_id, venue_code AS venue, venue_execution_id, kind, reference,
            strategy_code AS strategy, account_code AS account, instrument_code AS instrument, side, quantity, price,
            fee, fee_currency, liquidity, executed_at, received_at
        FROM executions""",
    "positions": """
        SELECT strategy_code AS strategy, account_code AS account, venue_code AS venue,
            instrument_code AS instrument, quantity, net_cost, updated_at
        FROM positions""",
    "transactions": """
        SELECT id AS transaction_id, kind, status, account_code AS account, venue_code AS venue,
            strategy_code AS strategy, order_id, currency, amount, reference, error, created_at, settled_at, resolved_at
        FROM transactions""",
    "cash": """
        SELECT account_code AS account, venue_code AS venue, currency, balance, updated_at
        FROM cash_balances""",
    "venue_statements": """
        SELECT id AS statement_id, venue_code AS venue, account_code AS account, kind, period_start, as_of,
            received_at, record_count
        FROM venue_statements""",
    "venue_executions": """
        SELECT l.statement_id, l.venue_code AS venue, l.account_code AS account, l.venue_execution_id,
            l.venue_order_id, l.kind, l.reference, l.instrument_code AS instrument, l.side, l.quantity, l.price, l.fee,
            l.fee_currency, l.executed_at, s.as_of
        FROM venue_executions l JOIN venue_statements s ON s.id = l.statement_id""",
    "venue_positions": """
        SELECT l.statement_id, s.venue_code AS venue, s.account_code AS account, l.instrument_code AS instrument,
            l.quantity, s.as_of
        FROM venue_positions l JOIN venue_statements s ON s.id = l.statement_id""",
    "venue_cash": """
        SELECT l.statement_id, s.venue_code AS venue, s.account_code AS account, l.currency, l.balance, s.as_of
        FROM venue_cash l JOIN venue_statements s ON s.id = l.statement_id""",
    "prices": """
        SELECT instrument_code AS instrument, observed_at, price, currency, source
        FROM prices""",
    "risk_limits": """
        SELECT id AS limit_id, scope, subject, metric, limit_value, unit, currency, warning_ratio, active, updated_at
        FROM risk_limits""",
    "equity": """
        SELECT strategy_code AS strategy, day, currency, equity, pnl, fees, gross_exposure, as_of
        FROM equity""",
    "accounts": """
        SELECT code AS account, kind, holder, country, base_currency, status, kyc_status, kyc_risk, kyc_verified_at,
            kyc_review_due_at, opened_at
        FROM accounts""",
    "audit_log": """
        SELECT id AS entry_id, at, actor, action, object, details, previous_hash, hash
        FROM audit_log""",
    "heartbeat": """
        SELECT instance, beat_at, sequence, interval_seconds
        FROM heartbeat""",
    "venues": """
        SELECT code AS venue, name, calendar, timezone, opens_at, closes_at, statement_interval_seconds
        FROM venues""",
    "instruments": """
        SELECT code AS instrument, venue_code AS venue, symbol, name, asset_class, currency, tick_size, lot_size,
            multiplier
        FROM instruments""",
}


def upgrade() -> None:
    op.execute("CREATE SCHEMA maintenance")
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW maintenance.{name} AS {query}")
    # The role is the operator's to create; it may not exist yet where this is restored or tested.
    op.execute(
        """
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'maintenance') THEN
                GRANT USAGE ON SCHEMA maintenance TO maintenance;
                GRANT SELECT ON ALL TABLES IN SCHEMA maintenance TO maintenance;
            END IF;
        END $$
        """
    )


def downgrade() -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW maintenance.{name}")
    op.execute("DROP SCHEMA maintenance")
