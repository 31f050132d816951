"""The statements of a data update that were made quick: the same is kept and found by each of their forms."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update import session, work
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.session import Session

from tests.integration import data_update_fixtures
from tests.integration.data_update_fixtures import LAST_LOGIN, USERS, Place
from tests.integration.restore_fixtures import bad

place = data_update_fixtures.place

#: Names that RETURNING has a meaning of its own for, and one that our before-images have a column of.
AWKWARD = """CREATE TABLE old (new int, batch text COLLATE "C", old numeric, key_1 text, PRIMARY KEY (batch, new));
INSERT INTO old SELECT i, 'b' || i % 3, i, 'k' FROM generate_series(1, 60) i"""
CHANGE: dict[str, Any] = {
    "id": "awkward",
    "reason": "a test",
    "table": "old",
    "predicate": "old % 2 = 0 AND batch > 'b0'",
    "set": {"old": "old + 0.5", "key_1": "key_1 || new"},
    "expected": {"min": 1, "max": 100},
    "check": "old % 1 = 0.5 AND key_1 = 'k' || new",
    "batch_rows": 6,
}
#: By hand: new, before and after of those that match.
MATCHING = [(i, i, i + 0.5, "k", f"k{i}") for i in range(1, 61) if i % 2 == 0 and i % 3 > 0]


@pytest.mark.parametrize("old", [True, False])
def test_whether_or_not_the_server_gives_old_rows_the_same_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    assert session.gives_old(180000)
    assert not session.gives_old(179999)
    monkeypatch.setattr(work, "gives_old", lambda version: old)
    place.sql(AWKWARD)
    before = place.sql("SELECT * FROM old ORDER BY new")
    checks, result = place.run(CHANGE)
    assert bad(checks) == {}
    assert (result["verified"]["rows"], result["attempts"]) == (len(MATCHING), 0)
    # Columns are in the order of their names.
    images = "SELECT key_2, before_2, after_2, before_1, after_1, rest FROM tradingflow_data_update.images_1 ORDER BY 1"
    assert place.sql(images) == [(*each, None) for each in MATCHING]
    sizes = "SELECT array_agg(rows ORDER BY batch) FROM tradingflow_data_update.batches"
    assert place.sql(sizes) == [([6, 6, 6, 2],)]
    checks, result = place.run(CHANGE, action="undo")
    assert bad(checks) == {}
    assert place.sql("SELECT * FROM old ORDER BY new") == before


def test_rows_that_still_match_are_not_looked_for_one_by_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # With a million of them that would never end.
    plans: list[str] = []
    rows = Session.rows

    def explained(self: Session, query: str, arguments: Any = None) -> list[Any]:
        if "LEFT JOIN tradingflow_data_update.images_1" in query or "FROM tradingflow_data_update.images_1" in query:
            plans.append("\n".join(row[0] for row in rows(self, f"EXPLAIN {query}", arguments)))
        return rows(self, query, arguments)

    monkeypatch.setattr(Session, "rows", explained)
    place.sql(USERS)
    change = {**LAST_LOGIN, "set": {"note": "'x'"}, "check": "note = 'x'", "batch_rows": 20}
    checks, result = place.run(change)
    assert bad(checks) == {}
    verified = result["verified"]
    assert (verified["matching_untouched"], verified["matching_touched"], verified["matching_behind_bound"]) == (
        0,
        50,
        0,
    )
    assert len(plans) == 2
    assert not [plan for plan in plans if "SubPlan" in plan]
