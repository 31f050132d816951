"""Whether a host is fit to be patched, and which hosts go first, on plain data."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import commands, host, precheck
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.rollout import (
    askers,
    canaries,
    joined,
    marked,
    stop,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, PatchingError

from tests.unit.test_patching_judgement import plan

#: As dpkg 1.21 says it of a package that was unpacked and not configured.
AUDIT = """The following packages have been unpacked but not yet configured.
They must be configured using dpkg --configure or the configure
menu option in dselect for them to work:
 tf-half              a package of the tests
"""


def said(**values: Any) -> dict[str, str]:
    return {check.id: check.status for check in precheck.checks(plan(**values))}


def test_a_host_that_is_fit() -> None:
    assert said() == dict.fromkeys(
        ("patching.broken", "patching.held", "patching.audit", "patching.lock", "patching.space:/"), "ok"
    )


@pytest.mark.parametrize(
    ("id", "status", "values"),
    [
        ("patching.broken", "critical", {"broken": 1}),
        ("patching.lock", "critical", {"locks": [{"lock": "/var/lib/dpkg/lock", "pid": 7, "command": "apt-get"}]}),
        ("patching.audit", "warning", {"audit": {"said": AUDIT, "problem": None}}),
        # The plan begins with it.
        ("patching.audit", "ok", {"audit": {"said": AUDIT, "problem": None}, "configure": ["tf-half"]}),
        ("patching.audit", "unknown", {"audit": {"said": None, "problem": "dpkg cannot be run: no"}}),
        # An answer that makes no sense leaves its own check unknown, and no other.
        ("patching.audit", "unknown", {"audit": None}),
        ("patching.held", "unknown", {"held": None}),
        ("patching.space:/boot", "critical", {"space": [{"path": "/boot", "free": 499}]}),
        ("patching.space:/boot", "ok", {"space": [{"path": "/boot", "free": 4_999}]}),
    ],
)
def test_a_host_that_is_not(id: str, status: str, values: dict[str, Any]) -> None:
    assert {**said(**values)}[id] == status
    assert [other for other, each in said(**values).items() if other != id and each not in ("ok",)] == []


def test_what_dpkg_finds_wrong_is_not_read_from_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dpkg"
    monkeypatch.setitem(commands.ENVIRONMENT, "PATH", str(tmp_path))
    for code, text, expected in ((0, "", ""), (0, "half", "half"), (1, "half", "half"), (1, "", None), (2, "x", None)):
        program.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {code}\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        assert precheck.audit()["said"] == expected, (code, text)
    program.unlink()
    assert precheck.audit()["said"] is None


@pytest.mark.parametrize(
    ("clock", "status"), [(100.5, "ok"), (100.5 - 70, "critical"), (100.5 + 70, "critical"), (None, "unknown")]
)
def test_a_clock_that_is_off(clock: float | None, status: str) -> None:
    # The module took 20 s on the host; that is no delay of the answer.
    began = None if clock is None else clock - 20
    check = precheck.clock({"clock": clock, "clock_began": began}, (80.0, 101.0), 60)
    assert (check.id, check.status) == ("patching.clock", status)


GROUPS = {"application": ["app1", "app2"], "database": ["db1"], "tradingflow_patching": ["app1", "app2", "db1"]}


def states(**more: dict[str, Any]) -> list[dict[str, Any]]:
    """Three hosts with something to do, none begun."""
    made: dict[str, Any] = {
        "planned": True,
        "wanted": True,
        "canary": False,
        "begun": False,
        "well": False,
        "held": "",
        "batch": 1,
    }
    return [{**made, "host": host, **more.get(host, {})} for host in ("app1", "app2", "db1")]


@pytest.mark.parametrize(
    ("named", "more", "expected"),
    [
        (["tradingflow_patching"], {}, ["app1"]),
        (["tradingflow_patching"], {"app1": {"wanted": False}}, ["app2"]),
        (["application", "database"], {}, ["app1", "db1"]),
        (["app2"], {}, ["app2"]),
        # Nothing to do on it: it is as the others will be.
        (["app2"], {"app2": {"wanted": False}}, ["app1"]),
        # No plan for it: it stays the canary, and nobody follows it.
        (["app2"], {"app2": {"wanted": False, "planned": False}}, ["app2"]),
        ([], {}, []),
    ],
)
def test_who_goes_first(named: list[str], more: dict[str, Any], expected: list[str]) -> None:
    assert canaries(named, GROUPS, states(**more)) == expected


def test_a_canary_outside_of_a_limited_run_is_replaced() -> None:
    assert canaries(["app1"], GROUPS, states()[1:]) == ["app2"]


def test_a_canary_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="app9"):
        canaries(["app1", "app9"], GROUPS, states())


def test_a_batch_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="patching_batch"):
        canaries([], GROUPS, states(app2={"batch": 0}))


GOOD, BAD = {"begun": True, "well": True}, {"begun": True, "well": False}
CANARY = {"canary": True}


@pytest.mark.parametrize(
    ("host", "allowed", "more", "why"),
    [
        ("app1", 0, {}, ""),
        ("app2", 0, {"app1": {**CANARY, **GOOD}}, ""),
        # Whatever is allowed: a canary is there to stop the others.
        ("app2", 9, {"app1": {**CANARY, **BAD}}, "the canary is not proven: app1"),
        ("app2", 9, {"app1": {**CANARY, "planned": False, "wanted": False}}, "the canary is not proven: app1"),
        ("app2", 9, {"app1": CANARY}, "the canary is not proven: app1"),
        # The second canary waits for the first, not for itself, and the first not for the second.
        ("app2", 9, {"app1": CANARY, "app2": CANARY}, ""),
        ("app2", 9, {"app1": {**CANARY, **BAD}, "app2": CANARY}, "the canary is not proven: app1"),
        # The budget is of the whole run.
        ("db1", 0, {"app1": GOOD, "app2": BAD}, "patching failed on app2"),
        ("db1", 1, {"app1": GOOD, "app2": BAD}, ""),
        ("db1", 1, {"app1": BAD, "app2": BAD}, "patching failed on app1, app2"),
        (
            "db1",
            9,
            {"app2": {"held": "the gates do not allow it: hold."}},
            "Left alone: the gates do not allow it: hold.",
        ),
        ("db1", 9, {"db1": {"wanted": False}}, "no plan"),
    ],
)
def test_whether_the_next_host_may_follow(host: str, allowed: int, more: dict[str, Any], why: str) -> None:
    reason = stop(host, states(**more), allowed)
    assert why in reason
    assert bool(reason) == bool(why)


def test_a_canary_whose_planning_failed_is_one() -> None:
    of = states(app2={"planned": False, "wanted": False})
    of = marked(of, canaries(["app2"], GROUPS, of))
    assert "the canary is not proven: app2" in stop("db1", of, 9)


def test_a_host_that_nobody_knows_is_left_alone() -> None:
    assert "no plan" in stop("app9", states(), 0)


@pytest.mark.parametrize(
    ("said", "well"),
    [
        ("Get:1 file:/srv/main ./ Packages [5 B]\nReading package lists...\n", True),
        ("Err:1 http://127.0.0.1:1 ./ Release\n  Could not connect\n", False),
        ("W: Failed to fetch http://127.0.0.1:1/Release  Could not connect\n", False),
        ("W: Some index files failed to download. They have been ignored, or old ones used instead.\n", False),
        ("W: Download is performed unsandboxed as root\n", True),
    ],
)
def test_a_list_that_apt_does_without_is_missing(
    said: str, well: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An apt that does not know of Error-Mode ends with 0."""
    monkeypatch.setattr(commands, "run", lambda arguments: said)
    place = commands.Place(tmp_path, tmp_path, tmp_path, tmp_path)
    if well:
        commands.update(place)
        return
    with pytest.raises(PatchingError, match="could not be fetched"):
        commands.update(place)


def test_room_is_asked_for_wherever_packages_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file system once, also those of /usr and of what is downloaded."""
    scratch = tmp_path / "srv/scratch"
    scratch.mkdir(parents=True)
    places = {tmp_path / name.lstrip("/"): number for number, name in enumerate(("", "/boot", "/var", "/usr"))}
    for folder in places:
        folder.mkdir(exist_ok=True)
    real = Path.stat

    def stated(path: Path, **how: Any) -> Any:
        found = list(real(path, **how))
        found[2] = 99 if path == scratch else places.get(path, 0)
        return os.stat_result(found)

    monkeypatch.setattr(Path, "stat", stated)
    found = host.space(tmp_path, "/srv/scratch")
    assert [each["path"] for each in found] == ["/", "/boot", "/var", "/usr", "/srv/scratch"]


def test_what_is_known_later_of_a_host_is_added() -> None:
    found = joined([{"host": "a", "batch": 5}, {"host": "b"}, {"host": "a", "planned": True, "wanted": True}, "odd"])
    assert found == [{"host": "a", "batch": 5, "planned": True, "wanted": True}, {"host": "b"}, "odd"]


def test_hosts_ask_the_gates_together_where_these_go_by_the_same() -> None:
    app, base = {"maintenance_window_gates": {"patch": ["market"]}}, {"maintenance_window_gates": {"patch": ["freeze"]}}
    said = {"app1": app, "db1": base, "app2": dict(app), "odd1": None, "odd2": None}
    assert askers(list(said), said) == {"app1": "app1", "db1": "db1", "app2": "app1", "odd1": "odd1", "odd2": "odd2"}
