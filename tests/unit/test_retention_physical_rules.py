"""Which physical backups go when some have no recovery point, and what their staying means for the report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger.points import Known
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention import expired, physical
from ansible_collections.tradingflow.maintenance.plugins.module_utils._retention.inventory import Facts
from ansible_collections.tradingflow.maintenance.plugins.module_utils._wal.repository import Repository

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FULL, OTHER = "20261120-010000F", "20261123-010000F"
FIRST, SECOND, THIRD = (f"{FULL}_202611{day}-010000I" for day in (21, 22, 24))
DIFF = f"{FULL}_20261124-020000D"


def facts(label: str, *requires: str) -> Facts:
    engine = {"name": "pgbackrest", "repository_path": "r", "stanza": "s", "label": label, "requires": list(requires)}
    return Facts(NOW, "", "", set(), False, None, engine=engine)


def decided(labels: set[str], going: list[Facts]) -> physical.Backups:
    found = Repository("r", "s", labels=labels)
    staying = [facts(OTHER)]
    return physical.backups(found, staying, going, Known(), [], timedelta(days=2), NOW)


def test_a_chain_stays_as_long_as_a_backup_without_recovery_point_may_need_it() -> None:
    chain = [facts(FULL), facts(FIRST, FULL), facts(SECOND, FULL, FIRST)]
    # The backup of 24 November has no recovery point, as its run failed; it was made from all before it.
    found = decided({FULL, FIRST, SECOND, THIRD, OTHER}, chain)
    assert found.going == {}
    assert found.staying[THIRD] == "it may still be under way"
    assert all(found.staying[each].startswith("needed by 2026") for each in (FULL, FIRST, SECOND))
    # A differential one needs the full one alone.
    found = decided({FULL, FIRST, SECOND, DIFF, OTHER}, chain)
    assert set(found.going) == {FIRST, SECOND}
    assert set(found.staying) == {FULL, DIFF}
    assert set(decided({FULL, FIRST, SECOND, OTHER}, chain).going) == {FULL, FIRST, SECOND}


def test_a_lock_found_later_keeps_the_chain_too() -> None:
    found = decided({FULL, FIRST, SECOND, OTHER}, [facts(FULL), facts(FIRST, FULL), facts(SECOND, FULL, FIRST)])
    del found.going[SECOND]
    found.staying[SECOND] = "locked until tomorrow"
    physical.spare(Repository("r", "s", labels={FULL, FIRST, SECOND, OTHER}), found)
    assert (found.going, set(found.staying)) == ({}, {FULL, FIRST, SECOND})


@pytest.mark.parametrize(
    ("change", "status", "action"),
    [
        ({}, "ok", "skipped"),
        ({"refused": {FULL: f"{FIRST} needs it"}}, "warning", "skipped"),
        ({"wal_refused": "no full backup is left"}, "warning", "skipped"),
        ({"expired": [FIRST], "refused": {FULL: "pgBackRest would not delete it"}}, "warning", "ok"),
        ({"expired": [FIRST]}, "ok", "ok"),
    ],
)
def test_what_stays_is_a_warning_and_no_failed_action(change: dict[str, Any], status: str, action: str) -> None:
    """The report makes a failed action critical: it would be so at every run until the backup is gone."""
    said = {"expired": [], "refused": {}, "wal": [], "wal_refused": "", "wal_needed": {}, **change}
    before = Repository("r", "s", labels={FULL, FIRST})
    after = Repository("r", "s", labels={FULL, FIRST} - set(said["expired"]))
    wanted = [FULL, FIRST] if change else []
    ((check,), (done,)) = expired.findings(before, after, said, wanted, False, "2026-11-24T00:00:00Z")
    assert (check.status, done["status"]) == (status, action)
    lost = expired.findings(before, Repository("r", "s", labels={FULL}), {**said, "expired": []}, wanted, False, "now")
    assert lost[0][0].status == "critical"
    assert not wanted or lost[1][0]["status"] == "failed"
