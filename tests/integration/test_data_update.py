"""Data updates: well, undone, refused, broken off, killed, and in others' way."""

from __future__ import annotations

from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update import engine

from tests.integration import data_update_fixtures
from tests.integration.data_update_fixtures import LAST_LOGIN, USERS, Place, bad

place = data_update_fixtures.place


def test_the_manuals_example_planned_carried_out_and_undone(place: Place) -> None:
    place.sql(USERS)
    before = place.sql("SELECT id, last_login, note FROM users ORDER BY id")
    plan = engine.plan(place.options(LAST_LOGIN))
    assert (plan["count"], plan["whole"], plan["refusals"], plan["wanted"]) == (50, False, [], True)
    assert [each["key"] for each in plan["sample"]] == [["2"], ["4"], ["6"], ["8"], ["10"]]
    assert plan["sample"][0]["before"] != plan["sample"][0]["after"]
    assert plan["estimate"]["wal_bytes"] > 0
    assert 'UPDATE "public"."users" SET "last_login"' in plan["sql"]
    assert place.sql("SELECT id, last_login, note FROM users ORDER BY id") == before
    assert place.sql("SELECT to_regnamespace('tradingflow_data_update')") == [(None,)]

    # Without its digest, or with another, nothing is done.
    for wrong in ("none", "0" * 64):
        checks, result = place.run(LAST_LOGIN, expected_digest=wrong)
        assert set(bad(checks)) == {"data_update.refused:digest"}
        assert not result["changed"]
    checks, result = place.run(LAST_LOGIN, expected_digest=plan["digest"])
    assert bad(checks) == {}
    assert (result["verified"]["rows"], result["update_after"]["batches"]) == (50, 5)
    assert result["verified"]["matching_untouched"] == result["verified"]["matching_behind_bound"] == 0
    # One moment for all batches, and nothing else changed.
    assert place.sql("SELECT count(*), count(DISTINCT last_login) FROM users WHERE id % 2 = 0") == [(50, 1)]
    assert place.sql("SELECT id, last_login FROM users WHERE id % 2 = 1 ORDER BY id") == [
        row[:2] for row in before if row[0] % 2 == 1
    ]
    again, result = place.run(LAST_LOGIN)
    assert bad(again) == {}
    assert "it was carried out" in result["nothing"]

    # Somebody logged in since, somebody else's note changed, and somebody is gone: they stay as they are.
    place.sql("UPDATE users SET last_login = now() WHERE id = 2; UPDATE users SET note = 'x' WHERE id = 4")
    place.sql("DELETE FROM users WHERE id = 6")
    since = place.sql("SELECT id, last_login, note FROM users WHERE id IN (2, 4) ORDER BY id")
    checks, result = place.run(LAST_LOGIN, action="undo", expected_digest=plan["digest"])
    assert set(bad(checks)) == {"data_update.undone"}
    assert result["undo"]["counts"] == {"gone": 1, "other columns": 1, "set columns": 1}
    assert sorted(each["key"] for each in result["undo"]["rows"]) == [["2"], ["4"], ["6"]]
    assert result["undo"]["restored"] == 47
    assert place.sql("SELECT id, last_login, note FROM users WHERE id IN (2, 4) ORDER BY id") == since
    assert place.sql("SELECT id, last_login, note FROM users WHERE id NOT IN (2, 4, 6) ORDER BY id") == [
        row for row in before if row[0] not in (2, 4, 6)
    ]
    assert "Nothing to undo" in engine.plan(place.options(LAST_LOGIN, action="undo"))["nothing"]
    # Undone, it may be carried out once more.
    checks, result = place.run({**LAST_LOGIN, "expected": {"min": 1, "max": 48}})
    assert bad(checks) == {}
    assert result["verified"]["rows"] == 47
