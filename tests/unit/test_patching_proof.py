"""Whether a patched host is proven, and what it keeps of a patching, on plain data and folders of their own."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import (
    commands,
    engine,
    halt,
    proof,
    state,
    steady,
    units,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.back import rows as rows_back
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.judgement import due, refusals
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.proven import (
    action,
    as_planned,
    proven,
    silent,
    well,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, PatchingError

from tests.unit.test_patching_judgement import RUNNING, ended, plan, row, statuses

BEFORE: dict[str, Any] = {
    "identity": {"boot_id": "one", "started": "100"},
    "system": "running",
    "failed": [],
    "enabled": ["cron.service", "ssh.service", "strategies.service"],
    "active": ["cron.service", "ssh.service", "strategies.service"],
    "kernel": "6.1.0-9-amd64",
    "container": False,
}
#: strategies.service is halted.
NOW = {**BEFORE, "active": ["cron.service", "ssh.service"]}


def kept(**values: Any) -> dict[str, Any]:
    installed = {"openssl:amd64": {"version": "3.0.15-1", "state": "installed"}}
    made = state.begun(None, plan(units=["strategies.service"]), BEFORE, installed)
    return {**made, **values}


def test_a_host_that_is_as_before() -> None:
    assert proof.faults(kept(), NOW, False) == {}


RESTARTED = {"identity": {"boot_id": "two", "started": "90"}, "kernel": "6.1.0-13-amd64"}


@pytest.mark.parametrize(
    ("values", "now", "expected"),
    [
        ({"kernel": "6.1.0-13-amd64"}, RESTARTED, set()),
        # "Done" while it is still shutting down: nothing changed.
        ({"kernel": "6.1.0-13-amd64"}, {}, {"rebooted", "kernel"}),
        ({"kernel": "6.1.0-13-amd64"}, {**RESTARTED, "kernel": "6.1.0-9-amd64"}, {"kernel"}),
        # No newer kernel was planned, and another one came up.
        ({}, RESTARTED, {"kernel"}),
        # In a container only the first process is another one, and the kernel is not its own.
        ({}, {"identity": {"boot_id": "one", "started": "7"}, "container": True}, set()),
        ({}, {"identity": BEFORE["identity"], "container": True}, {"rebooted"}),
        ({"kernel": "6.1.0-13-amd64"}, {**RESTARTED, "system": "starting"}, {"system"}),
        ({"kernel": "6.1.0-13-amd64"}, {**RESTARTED, "active": ["ssh.service"]}, {"units"}),
    ],
)
def test_a_restart_is_proven_not_believed(values: dict[str, Any], now: dict[str, Any], expected: set[str]) -> None:
    assert set(proof.faults(kept(**values), {**NOW, **now}, True)) == expected


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, {"system": "degraded", "failed": ["cron.service"]}, {"system"}),
        ({}, {"system": "degraded"}, {"system"}),
        ({"system": "degraded", "failed": ["a.service"]}, {"system": "degraded", "failed": ["a.service"]}, set()),
        (
            {"system": "degraded", "failed": ["a.service"]},
            {"system": "degraded", "failed": ["a.service", "b.service"]},
            {"system"},
        ),
        ({"system": "degraded", "failed": ["a.service"]}, {}, set()),
        # Not in systemd's vocabulary, also when nothing was said at all.
        ({}, {"system": ""}, {"system"}),
        ({}, {"system": "fine"}, {"system"}),
        # sshd restarted by needrestart until systemd leaves it stopped (liske/needrestart#340).
        ({}, {"active": ["cron.service"]}, {"units"}),
    ],
)
def test_what_runs_is_compared_with_before(before: dict[str, Any], now: dict[str, Any], expected: set[str]) -> None:
    was = kept(before={**BEFORE, **before})
    assert set(proof.faults(was, {**NOW, **now}, False)) == expected


def result(**values: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"faults": {}, "now": NOW, "before": BEFORE, "rebooted": False, "kernel": None, "count": 1}
    made.update(kernels=[], kernel_of=None, untold={}, gone=[], health=None)
    made.update(resumed=[{"unit": "strategies.service", "problem": None}], halted=[], services=None, changed=True)
    return {**made, "clock": 100.0, "clock_began": 100.0, **values}


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({}, "ok"),
        ({"left": ["cron.service"]}, "warning"),
        ({"asked": False}, "warning"),
        ({"unknown": "no"}, "unknown"),
    ],
)
def test_what_needrestart_did_not_say_is_not_said_in_its_name(said: dict[str, Any], status: str) -> None:
    checks = proven(result(rebooted=True, services={**RUNNING, **said}), (99.9, 100.1), 60)
    assert [check.status for check in checks if check.id == "patching.services"] == [status]


def test_what_ran_and_nobody_starts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a strategy that was started by hand: a restart of the host does not, and neither does a package."""
    shows = {
        "strategy@7.service": {"UnitFileState": "disabled", "Type": "simple"},
        "engine.service": {"UnitFileState": "static", "Type": "notify"},
        "cron.service": {"UnitFileState": "enabled", "Type": "simple"},
        "polkit.service": {"UnitFileState": "static", "Type": "dbus"},
        "run-u5.service": {"UnitFileState": "transient", "Type": "simple", "Transient": "yes"},
        "asked.service": {"UnitFileState": "static", "Type": "simple", "TriggeredBy": "asked.socket"},
    }
    monkeypatch.setattr(proof, "listed", lambda state: [*shows, "user@0.service", "dev-sda.device"])
    monkeypatch.setattr(proof, "shown", lambda names, *_properties: [{"Id": name, **shows[name]} for name in names])
    ran = proof.others()
    assert ran == ["engine.service", "strategy@7.service"]
    was = kept(before={**BEFORE, "others": [*ran, "strategies.service"]})
    lost = proof.gone(was, {**NOW, "active": ["engine.service"]})
    assert lost == ["strategy@7.service"]
    checks = proven(result(gone=lost), (99.9, 100.1), 60)
    assert [(check.id, check.status) for check in checks if check.status != "ok"] == [
        ("patching.proven:others", "warning")
    ]
    assert "strategy@7.service" in checks[4].message
    assert well(checks)
    # As an earlier version kept it.
    assert proof.gone(kept(), NOW) == []


def test_only_a_host_that_is_proven_is_well() -> None:
    assert well(proven(result(), (99.9, 100.1), 60))
    for values in (
        {"faults": {"units": "Services that ran before do not: cron.service."}},
        {"resumed": [{"unit": "strategies.service", "problem": "systemctl failed (1)"}]},
        {"halted": ["strategies.service"]},
        {"clock": 900.0, "clock_began": 900.0},
    ):
        assert not well(proven(result(**values), (99.9, 100.1), 60)), values
    checks = {check.id: check for check in proven(result(halted=["strategies.service"]), (99.9, 100.1), 60)}
    assert "strategies.service" in checks["patching.isolated"].message


def test_a_host_that_is_gone_is_critical_and_not_unknown() -> None:
    checks = silent("Failed to connect to the host via ssh: Connection refused")
    assert [(check.id, check.status) for check in checks] == [("patching.connection", "critical")]
    assert not well(checks)
    assert action(checks, False, "2026-11-30T00:00:00Z")["status"] == "failed"


def test_a_host_that_failed_says_what_it_left_halted() -> None:
    problem = {"message": "apt-get failed (100)", "remedy": ""}
    said = statuses(ended(problem=problem, services=None, halted=["strategies.service"]))
    assert said["patching.isolated"] == "critical"
    assert "patching.isolated" not in statuses(ended(halted=["strategies.service"]))


def test_when_a_host_was_started_is_read_by_its_grammar(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/1").mkdir()
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("one\n", encoding="ascii")
    fields = " ".join(str(number) for number in range(3, 53))
    (tmp_path / "proc/1/stat").write_text(f"1 (my (init) 7) {fields}\n", encoding="ascii")
    assert proof.identity(tmp_path) == {"boot_id": "one", "started": "22"}
    (tmp_path / "proc/1/stat").write_text("1 (init) S 0\n", encoding="ascii")
    with pytest.raises(PatchingError):
        proof.identity(tmp_path)


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("never", {"reboot_pending": ["libc6"]}, False),
        ("when_needed", {}, False),
        ("when_needed", {"reboot_pending": []}, True),
        ("when_needed", {"running": {**RUNNING, "newer_kernel": True}}, True),
        # What a container has in /boot is not what it runs.
        ("when_needed", {"running": {**RUNNING, "newer_kernel": True}, "container": True}, False),
        ("when_needed", {"running": {**RUNNING, "newer_kernel": True}, "container": None}, False),
    ],
)
def test_when_a_host_is_restarted(mode: str, values: dict[str, Any], expected: bool) -> None:
    assert due(plan(reboot_mode=mode, **values)) is expected


def test_what_is_kept_survives_a_run_that_was_killed(tmp_path: Path) -> None:
    folder = str(tmp_path / "state")
    assert state.read(folder) is None
    installed = {"openssl:amd64": {"version": "3.0.15-1", "state": "installed"}}
    first = state.begun(None, plan(units=["strategies.service"]), BEFORE, installed)
    state.write(folder, first)
    assert (Path(folder) / state.NAME).stat().st_mode & 0o777 == 0o600
    assert os.listdir(folder) == [state.NAME]
    # The next run finds its units halted, openssl done, and one more package.
    installed["openssl:amd64"] = {"version": "3.0.17-1", "state": "installed"}
    later = plan(
        packages=[row(package="zlib1g")], units=["strategies.service", "more.service"], units_ran=[], digest="x"
    )
    again = state.begun(state.read(folder), later, NOW, installed)
    assert (again["before"], again["identity"]) == (BEFORE, NOW["identity"])
    assert again["units"] == ["strategies.service", "more.service"]
    assert again["ran"] == ["strategies.service"]
    assert [(each["package"], each["from"], each["to"]) for each in again["rows"]] == [
        ("openssl", "3.0.15-1", "3.0.17-1"),
        ("zlib1g", "3.0.15-1", "3.0.17-1"),
    ]
    # Of a run that ended, nothing is carried on.
    closed = {**first, "open": False}
    assert [each["package"] for each in state.begun(closed, later, NOW, installed)["rows"]] == ["zlib1g"]
    # One that put nothing in place, such as only to restart the host, leaves the way back as it is.
    nothing = state.begun(closed, plan(packages=[]), NOW, installed)
    assert (nothing["rows"], [each["package"] for each in nothing["back"]]) == ([], ["openssl"])


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"version": 2}), json.dumps({"version": 1, "open": True})])
def test_what_is_kept_and_not_understood_is_not_taken_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / state.NAME).write_text(text, encoding="utf-8")
    with pytest.raises(PatchingError, match="cannot be read"):
        state.read(str(tmp_path))


class Solver:
    """apt's view of packages with their versions of now, and those that can be had."""

    def __init__(self, **versions: str) -> None:
        self.versions = versions

    def package(self, name: str, architecture: str) -> Any:
        version = self.versions.get(name)
        if version is None:
            return None
        return type("Package", (), {"name": name, "current_ver": type("Version", (), {"ver_str": version})})

    def source_of(self, package: Any, text: str) -> Any:
        return None if text == "gone" else text

    def exactly(self, wanted: list[Any]) -> Any:
        return [(package.name, version) for package, version in wanted], []


def back(before: str | None, to: str, now: str, **values: Any) -> Any:
    made = kept(back=[{**row(**{"from": before, "to": to}), **values}], open=False)
    return rows_back(Solver(openssl=now), made)


def test_the_way_back_is_to_what_was_recorded_and_from_what_was_put_in_place() -> None:
    assert back("3.0.15-1", "3.0.17-1", "3.0.17-1") == ([("openssl", "3.0.15-1")], [])
    # Done already, and never there before.
    assert back("3.0.15-1", "3.0.17-1", "3.0.15-1") == ([], [])
    assert back(None, "3.0.17-1", "3.0.17-1") == ([], [])
    # Somebody patched it since; and the old one is nowhere any more.
    assert "by now" in back("3.0.15-1", "3.0.17-1", "3.0.18-1")[1][0]
    assert "not to be had" in back("gone", "3.0.17-1", "3.0.17-1")[1][0]
    # A way back that broke off is gone on with.
    assert back("3.0.15-1", "3.0.15-1", "3.0.17-1", was=["3.0.17-1"]) == ([("openssl", "3.0.15-1")], [])
    with pytest.raises(PatchingError, match="nothing to go back from"):
        rows_back(Solver(), None)


def test_a_way_back_that_is_none_is_refused_before_anything_starts() -> None:
    refused = refusals(plan(packages=[], rollback=True, no_way_back=["tf-needs would have to be removed"]), [])
    assert [each["name"] for each in refused] == ["back"]
    assert "tf-needs" in refused[0]["message"]


def test_what_an_earlier_run_began_is_proven_whatever_is_approved() -> None:
    assert refusals(plan(packages=[], open=True), ["0" * 64]) == []
    # Only a restart is due.
    restart: dict[str, Any] = {"packages": [], "reboot_mode": "when_needed", "reboot_pending": ["libc6"]}
    assert [each["name"] for each in refusals(plan(**restart), ["0" * 64])] == ["approved"]
    assert refusals(plan(**restart), [plan(**restart)["digest"]]) == []
    assert [each["name"] for each in refusals(plan(open=True), ["0" * 64])] == ["approved"]


@pytest.mark.parametrize(
    "unit", ["strategies", "*.service", "ssh.service", "dbus.socket", "a b.service", "", "x@.service"]
)
def test_units_are_named_and_none_that_the_patching_needs(unit: str) -> None:
    halt.check(["strategies.service", "agent@1.service", "feed.timer"])
    with pytest.raises(ConfigurationError):
        halt.check([unit])


def test_only_going_back_may_put_a_lower_version_in_place(tmp_path: Path) -> None:
    where = commands.Place(tmp_path, tmp_path / "lists", tmp_path / "cache", tmp_path / "apt.conf")
    for rollback in (False, True):
        command = commands.install_command(where, [row()], {"conffiles": "replace", "rollback": rollback})
        assert ("--allow-downgrades" in command) is rollback
        assert "--no-remove" in command
        assert "Dpkg::Options::=--force-confnew" in command
        assert "Dpkg::Options::=--force-confold" not in command


def begun_by_another(monkeypatch: pytest.MonkeyPatch, folder: Path, **values: Any) -> dict[str, Any]:
    """What a run says that Ansible sends once more after its connection broke."""
    found = plan(open=True, **values)
    monkeypatch.setattr(engine, "only_root", lambda: None)
    monkeypatch.setattr(engine, "planned", lambda options, where: {**found, "refusals": []})
    monkeypatch.setattr(commands, "place", lambda directory: nullcontext())
    monkeypatch.setattr(halt, "UNITS", folder / "units")
    options = {"state_directory": str(folder), "scratch_directory": str(folder), "expected_digest": "approved"}
    return engine.run(options)


def test_a_host_that_another_run_has_begun_is_refused_and_not_called_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write(str(tmp_path), kept())
    (tmp_path / halt.FLAG).touch()
    drop_in = tmp_path / "units/strategies.service.d" / halt.DROP_IN
    drop_in.parent.mkdir(parents=True)
    drop_in.touch()
    for busy in (True, False):
        with state.locked(str(tmp_path)) if busy else nullcontext(True) as ours:
            assert ours
            done = begun_by_another(monkeypatch, tmp_path)
        assert (done["changed"], done["halted"]) == (None, ["strategies.service"])
        assert [each["name"] for each in done["refusals"]] == ["digest", *(["lock"] if busy else [])]
        said = statuses({**ended(), **done})
        assert said["patching.isolated"] == "critical"


def test_nobody_proves_a_host_that_is_being_patched(tmp_path: Path) -> None:
    state.write(str(tmp_path), kept())
    with state.locked(str(tmp_path)), pytest.raises(PatchingError, match="at work"):
        proof.prove({"state_directory": str(tmp_path)})


@pytest.mark.parametrize(
    ("said", "earlier", "expected"),
    [
        ("active", [], True),
        ("activating", [], True),
        ("reloading", [], True),
        ("refreshing", [], True),
        ("inactive", [], False),
        ("failed", [], False),
        # An earlier run halted it.
        ("inactive", ["strategies.service"], True),
    ],
)
def test_which_units_are_started_again(
    said: str, earlier: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halt, "shown", lambda unit, name: said)
    assert halt.ran(["strategies.service"], earlier) == (["strategies.service"] if expected else [])


def test_a_unit_of_which_nothing_is_known_is_not_taken_for_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halt, "shown", lambda unit, name: "")
    with pytest.raises(PatchingError, match="Whether strategies"):
        halt.ran(["strategies.service"], [])


def test_a_unit_that_is_halted_and_not_started_is_named() -> None:
    units = ["strategies.service", "feed.service"]
    assert "patching.units" not in statuses(ended(units=units, units_ran=units))
    assert statuses(ended(units=units, units_ran=["feed.service"]))["patching.units"] == "warning"


def test_a_systemctl_that_fails_is_no_empty_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\necho degraded\necho 'Failed to list units' >&2\nexit 1\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(commands.ENVIRONMENT, "PATH", str(tmp_path))
    assert units.systemd(["is-system-running"], fails=True) == "degraded\n"
    with pytest.raises(PatchingError, match="Failed to list units"):
        units.listed("active")


def test_nothing_is_started_on_a_host_whose_clock_is_off() -> None:
    halted = {"resumed": [], "halted": ["strategies.service"]}
    assert as_planned(proven(result(**halted), (99.9, 100.1), 60))
    assert not as_planned(proven(result(**halted, clock=900.0, clock_began=900.0), (99.9, 100.1), 60))
    assert not as_planned(proven(result(**halted, faults={"units": "cron.service does not run."}), (99.9, 100.1), 60))


@pytest.mark.parametrize("close", [True, False])
def test_a_host_is_begun_until_somebody_says_that_it_is_over(
    close: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "apt", lambda: type("Apt", (), {"init_config": print, "init_system": print}))
    monkeypatch.setattr(proof, "facts", lambda: NOW)
    monkeypatch.setattr(proof, "status", dict)
    monkeypatch.setattr(halt, "resume", lambda directory, units, start: [])
    monkeypatch.setattr(halt, "shown", lambda unit, name: "active")
    state.write(str(tmp_path), kept(rows=[]))
    options = {"rebooted": False, "resume": True, "close": close, "health": None, "health_wait": 0}
    done = proof.prove({"state_directory": str(tmp_path), **options})
    assert done["faults"] == {}
    assert (state.read(str(tmp_path)) or {})["open"] is not close


def test_what_dies_right_after_its_start_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    up = {"ActiveState": "active", "MainPID": "7", "NRestarts": "0"}
    later = {
        "good.service": up,
        "gone.service": {**up, "ActiveState": "failed", "MainPID": "0"},
        "again.service": {**up, "NRestarts": "1"},
        "another.service": {**up, "MainPID": "8"},
        "coming.service": {**up, "ActiveState": "activating"},
        "unsaid.service": {},
        # Has neither processes nor restarts.
        "good.timer": {"ActiveState": "active"},
    }
    asked: set[str] = set()

    def looked(unit: str) -> dict[str, str]:
        first = unit not in asked
        asked.add(unit)
        return {name: up[name] for name in later[unit] or up} if first else later[unit]

    def run(arguments: list[str]) -> str:
        if arguments[-1] == "dead.service":
            raise PatchingError("systemctl failed (3): inactive")
        return ""

    monkeypatch.setattr(steady, "looked", looked)
    monkeypatch.setattr(steady, "WAIT", 0.0)
    monkeypatch.setattr(commands, "run", run)
    found = steady.problems([*later, "dead.service"])
    assert found.keys() == {*later, "dead.service"} - {"good.service", "good.timer"}


def test_what_ran_and_does_not_is_halted_whatever_forbids_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed between taking the locks away and starting the units."""
    monkeypatch.setattr(halt, "UNITS", tmp_path)
    monkeypatch.setattr(halt, "shown", lambda unit, name: "active" if unit == "a.service" else "inactive")
    units = ["a.service", "b.service", "c.service"]
    assert halt.halted(str(tmp_path), units, ["a.service", "b.service"]) == ["b.service"]
