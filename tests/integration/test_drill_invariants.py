"""The restore drill's invariants: what breaks them, and what cannot be asked."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress

from sandbox.postgres import cursor
from tests.conftest import Sandbox
from tests.integration import drill_fixtures
from tests.integration.drill_fixtures import INVARIANTS, judged
from tests.integration.test_backup import Make

drill_options, odd = drill_fixtures.drill_options, drill_fixtures.odd
place, small = drill_fixtures.place, drill_fixtures.small


def test_invariants(small: dict[str, Any], drill_options: Make) -> None:
    """One that is broken fails the drill; one that cannot be asked is unknown; none can write."""
    asked = {
        "holds": "SELECT count(*) FROM twins WHERE a <> 7",
        "broken": "SELECT count(*) FROM twins WHERE a = 7",
        "failing": "SELECT count(*) FROM nowhere_to_be_found",
        "slow": "SELECT count(*) FROM pg_sleep(10)",
        "no number": "SELECT 'none'",
        "no row": "SELECT 1 WHERE false",
        "null": "SELECT sum(a) FROM twins WHERE a > 7",
        "negative": "SELECT -1",
        "truth": "SELECT true",
        "two": "SELECT a FROM twins",
        "writing": "WITH gone AS (DELETE FROM twins RETURNING 1) SELECT count(*) FROM gone",
        "100%": "SELECT count(*) FROM twins WHERE a % 7 <> 0",
    }
    chosen = drill_options(
        small, invariants=[{"name": n, "title": n, "sql": sql} for n, sql in asked.items()], invariant_timeout=1
    )
    result = engine.run(chosen, Progress())
    found = {id.partition(":")[2]: check for id, check in judged(result, chosen)[0].items() if ":" in id}
    good = {name for name, check in found.items() if check.status == "ok"}
    assert good == {"holds", "100%"}
    assert (found["broken"].status, found["broken"].value) == ("critical", 2)
    assert {check.status for name, check in found.items() if name not in good | {"broken"}} == {"unknown"}
    assert "nowhere_to_be_found" in found["failing"].message
    assert "read-only" in found["writing"].message
    assert judged(result, chosen)[2]["worst_status"] == "critical"


@pytest.mark.parametrize(
    ("name", "breaking"),
    [
        ("positions_follow_from_executions", "UPDATE positions SET quantity = quantity + 0.00000001"),
        ("positions_follow_from_executions", "DELETE FROM positions WHERE quantity <> 0"),
        ("positions_follow_from_executions", "UPDATE positions SET quantity = 'NaN'"),
        ("cash_follows_from_transactions", "UPDATE cash_balances SET balance = balance - 0.01"),
        ("cash_follows_from_transactions", "UPDATE transactions SET status = 'failed' WHERE kind = 'deposit'"),
        ("no_orphan_executions", "UPDATE executions SET order_id = NULL WHERE id = (SELECT min(id) FROM executions)"),
        ("audit_chain", "UPDATE audit_log SET details = details || 'x' WHERE id = 2"),
        ("audit_chain", "DELETE FROM audit_log WHERE id = 2"),
        ("audit_chain", "DELETE FROM audit_log WHERE id = 1"),
        ("recency", "UPDATE heartbeat SET beat_at = beat_at - interval '1 hour'"),
        ("recency", "DELETE FROM heartbeat"),
    ],
)
def test_each_invariant_can_be_broken(platform: Sandbox, name: str, breaking: str) -> None:
    (sql,) = [each["sql"] for each in INVARIANTS if each["name"] == name]
    with cursor(platform.state["postgres"]) as database:
        database.execute("BEGIN")
        try:
            database.execute("SELECT set_config('drill.snapshot_at', now()::text, true)")
            database.execute(sql)
            assert database.fetchone() == (0,)
            database.execute(breaking)
            assert database.rowcount
            database.execute(sql)
            assert database.fetchone()[0] > 0
        finally:
            database.execute("ROLLBACK")
