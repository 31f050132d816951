"""``playbooks/data_update.yml`` on a real sandbox: the manual's example planned, carried out, and undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Playbook, Sandbox
from tests.end_to_end import store_gone
from tests.end_to_end.store_gone import behind, gone_once
from tests.end_to_end.test_daily import ids, statements
from tests.store_proxy import Proxy

proxy = store_gone.proxy

ROWS = "SELECT id, last_login FROM users ORDER BY id"


@pytest.fixture
def untouched(platform: Sandbox) -> Iterator[Sandbox]:
    """The sandbox without data updates; so again at the end."""
    assert platform.sql("owner", "SELECT to_regnamespace('tradingflow_data_update')") == [(None,)]
    yield platform
    if platform.sql("owner", "SELECT to_regclass('tradingflow_data_update.images_1')") != [(None,)]:
        images = "tradingflow_data_update.images_1 i WHERE i.key_1 = users.id"
        platform.sql("owner", f"UPDATE users SET last_login = i.before_1 FROM {images}")
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


def test_a_data_update_ends_without_the_ledger_and_says_so(
    untouched: Sandbox, play: Callable[..., Playbook], proxy: Proxy
) -> None:
    before, earlier = untouched.sql("owner", ROWS), len(records(untouched))
    proxy.fault = gone_once(untouched, "SELECT to_regclass('tradingflow_data_update.updates') IS NOT NULL")
    done = play("data_update", *behind(proxy))
    assert done.returncode == 2, done.output
    report = done.report("data_update")
    # What was done is in the report, and that the ledger does not know of it.
    assert "data_update.verified" in ids(report, "ok")
    assert "data_update.finished" in ids(report, "critical")
    assert "evidence.recorded" in ids(report, "critical", "unknown")
    after = untouched.sql("owner", ROWS)
    assert after != before
    states = [each["content"]["state"] for each in records(untouched)[earlier:]]
    assert states == ["begun"]

    # Nothing is left to do, and the ledger gets the end that nobody could write.
    again = play("data_update")
    assert again.returncode == 0, again.output
    assert "Nothing to do" in again.output
    assert "data_update.found" in ids(again.report("data_update"), "ok")
    begun, late = records(untouched)[earlier:]
    assert late["content"]["late"] is True
    assert late["run_id"] == again.report("data_update")["run_id"]
    assert late["content"]["run_id"] == begun["run_id"] == report["run_id"]
    assert {name: late["content"][name] for name in ("state", "digest", "changed", "problem")} == {
        "state": "ended",
        "digest": begun["content"]["digest"],
        "changed": True,
        "problem": None,
    }
    rows = sum(one != other for one, other in zip(before, after, strict=True))
    assert (late["content"]["update"]["state"], late["content"]["update"]["rows"]) == ("done", rows)
    assert untouched.sql("owner", ROWS) == after
