"""``playbooks/data_update.yml`` on a real sandbox: the manual's example planned, carried out, and undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Playbook, Sandbox
from tests.end_to_end.test_daily import ids, statements

ROWS = "SELECT id, last_login FROM users ORDER BY id"


@pytest.fixture
def untouched(platform: Sandbox) -> Iterator[Sandbox]:
    """The sandbox without data updates; so again at the end."""
    assert platform.sql("owner", "SELECT to_regnamespace('tradingflow_data_update')") == [(None,)]
    yield platform
    platform.sql("owner", "DROP SCHEMA IF EXISTS tradingflow_data_update CASCADE")


def records(platform: Sandbox) -> list[dict[str, Any]]:
    """Predicates of the ledger's records of data updates, oldest first."""
    found = [each["predicate"] for each in statements(platform)]
    return [predicate for predicate in found if predicate["kind"] == "data_update"]


def test_the_manuals_example_on_the_sandbox(untouched: Sandbox, play: Callable[..., Playbook]) -> None:
    password = untouched.state["postgres"]["owner_password"]
    before = untouched.sql("owner", ROWS)
    (count,) = untouched.sql("owner", "SELECT count(*) FROM users WHERE last_login < now() - interval '30 days'")[0]
    assert count > 0
    planned = play("data_update", "--check", "-vvv")
    assert planned.returncode == 0, planned.output
    assert password not in planned.output
    (action,) = [each for each in planned.report("data_update")["actions"] if each["id"] == "data_update.update"]
    assert (action["status"], action["details"]["count"]) == ("planned", count)
    assert "UPDATE" in action["details"]["sql"]
    assert untouched.sql("owner", ROWS) == before
    assert untouched.sql("owner", "SELECT to_regnamespace('tradingflow_data_update')") == [(None,)]

    digest = action["details"]["digest"]
    done = play("data_update", "-e", f"data_update_expected_digest={digest}")
    assert done.returncode == 0, done.output
    report = done.report("data_update")
    assert ids(report, "warning", "unknown", "critical") == set()
    assert {"data_update.verified", "data_update.remaining", "data_update.recovery_point"} <= ids(report, "ok")
    after = untouched.sql("owner", ROWS)
    changed = [one for one, other in zip(before, after, strict=True) if one != other]
    assert len(changed) == count
    begun, ended = records(untouched)
    assert (begun["content"]["state"], ended["content"]["state"]) == ("begun", "ended")
    assert begun["content"]["digest"] == ended["content"]["digest"] == digest
    assert ended["content"]["update"]["rows"] == count
    point = next(check for check in report["checks"] if check["id"] == "data_update.recovery_point")
    assert ended["content"]["recovery_point"] == point["value"]
    assert begun["run_id"] == ended["run_id"] == report["run_id"]

    undone = play("data_update", "-e", "data_update_action=undo")
    assert undone.returncode == 0, undone.output
    assert untouched.sql("owner", ROWS) == before
    assert "backup" not in {check["id"].partition(".")[0] for check in undone.report("data_update")["checks"]}
    assert len(records(untouched)) == 4
