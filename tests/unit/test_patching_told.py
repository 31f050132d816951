"""What an operator reads of a plan and of its outcome, without opening the report."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import health, rollout
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.findings import findings, planned
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import as_dicts, judge

from tests.unit.test_patching_judgement import RUNNING, ended, plan

AT = "2026-11-29T00:00:00Z"


def stays(reason: str, security: bool) -> dict[str, Any]:
    return {
        "package": "procps",
        "architecture": "amd64",
        "installed": "1",
        "available": "2",
        "reason": reason,
        "text": "so it is",
        "security": security,
    }


@pytest.mark.parametrize(
    ("reason", "security", "status"),
    [
        ("hold", False, "ok"),
        ("pin", False, "ok"),
        ("not security", False, "ok"),
        # It is not yet this host's turn, and it will be.
        ("phased", True, "ok"),
        # Somebody's decision, and a hole all the same.
        ("hold", True, "warning"),
        ("pin", True, "warning"),
        ("unsolvable", False, "warning"),
    ],
)
def test_a_security_update_that_is_held_back_is_told(reason: str, security: bool, status: str) -> None:
    checks, (action,) = planned(plan(kept=[stays(reason, security)]), AT)
    (kept,) = [check for check in checks if check.id == "patching.kept"]
    assert kept.status == status
    told = f"A security update is kept back: procps ({reason})." in action["message"]
    assert told is (security and status == "warning")


def test_nothing_to_do_is_not_said_alone_where_a_security_update_is_kept_back() -> None:
    nothing = {"packages": [], "wanted": False, "download": 0, "grows": 0}
    _checks, (action,) = planned(plan(**nothing, kept=[stays("hold", True)]), AT)
    assert action["message"] == "Nothing to do. A security update is kept back: procps (hold)."


def test_what_was_done_is_named() -> None:
    restarted = [{"service": "cron.service", "problem": None}]
    _checks, (action,), _summary = findings(ended(services={**RUNNING, "restarted": restarted}), AT)
    assert action["message"] == "1 package in 1 s, as planned: openssl. Restarted: cron.service."


def test_details_say_sizes_with_their_units_and_nothing_that_is_not() -> None:
    _checks, (action,) = planned(plan(), AT)
    assert {"download_bytes": 1000, "grows_bytes": 10}.items() <= action["details"].items()
    assert not {"rollback", "open", "download", "grows"} & action["details"].keys()
    _checks, (action,) = planned(plan(rollback=True, open=True, grows=0), AT)
    assert {"rollback": True, "open": True}.items() <= action["details"].items()
    assert "grows_bytes" not in action["details"]


def test_a_warning_of_health_counts_what_it_warns_of() -> None:
    units = {"units": ["a.service", "b.service", "c.service"]}
    bad = as_dicts([judge("system.failed_units", "Units", 3, warning=1, critical=3, message="3.", details=units)])
    check = health.compared("system", bad, bad)
    assert (check.status, check.value) == ("warning", 1)


def test_a_plan_tells_who_goes_first_and_how_it_is_approved() -> None:
    states: list[dict[str, Any]] = [
        {"host": "app1", "planned": True, "wanted": True, "batch": 2, "digest": "a" * 64},
        {"host": "db1", "planned": True, "wanted": True, "batch": 2, "digest": "b" * 64},
        {"host": "app2", "planned": True, "wanted": True, "batch": 2, "digest": "a" * 64},
        {"host": "idle", "planned": True, "wanted": False, "batch": 2, "digest": "c" * 64},
        {"host": "lost", "planned": False, "wanted": False, "batch": 2, "digest": ""},
    ]
    told = rollout.told(states, ["app1"], 1)
    assert told.startswith("First app1, as canary; then db1, app2, up to 2 at a time. Ends after 2 failures. ")
    assert "Not planned: lost." in told
    assert f"""-e '{{"patching_approved": ["{"a" * 64}", "{"b" * 64}"]}}'""" in told
    assert "db1, app2" in rollout.told(states, [], 0)
    assert rollout.told(states[3:4], [], 0) == ""
    # A canary without a plan stops all others.
    assert rollout.told(states, ["lost"], 0).startswith("The canary has no plan, and nobody follows it: lost.")
