"""What the report says of housekeeping, from what the engine gives."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.findings import baselines, findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.journals import journal

NOTHING: dict[str, Any] = {
    **{name: [] for name in ("temporary", "access_logs", "images", "approved", "planned")},
    "rotation": None,
    "journal": None,
    "package_cache": False,
    "kernels": False,
    "maximum": 100,
    "look_at": 1000,
}
UNTIMED = {"request_time": "", "request_time_unit": "s", "request_time_left_out": []}
THRESHOLDS = {"unparsed": {"warning": 1.0}, "errors": {"warning": 1.0, "critical": 5.0}}
USUAL = {"requests_per_day": 4.0, "4xx": 0.0, "5xx": 0.0, "largest_client": 100.0, "clients": ["203.0.113.0/24"]}


def told(result: dict[str, Any], earlier: int = 0) -> dict[str, Check]:
    checks, _actions = findings(result, THRESHOLDS, lambda path: [USUAL] * earlier, "2026-11-30T12:00:00Z")
    return {check.id: check for check in checks}


def access(path: Path, **more: Any) -> dict[str, Any]:
    one = {"path": str(path), "days": 7.0, "format": "auto", "fields": {}, "ipv4_bits": 24, "ipv6_bits": 48, **UNTIMED}
    one.update({"maximum_lines": 1000, "empty_ok": False, **more})
    return engine.plan({**NOTHING, "access_logs": [one]})


def write(path: Path, statuses: list[int], junk: int = 0) -> Path:
    at = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(time.time() - 3600))
    lines = [f'203.0.113.9 - - [{at}] "GET /x HTTP/1.1" {status} 1\n' for status in statuses]
    path.write_text("".join(lines) + "junk\n" * junk, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("statuses", "junk", "status"),
    [([200] * 100, 0, "ok"), ([200] * 98 + [500] * 2, 0, "warning"), ([200, 500], 0, "critical"), ([200], 5, None)],
)
def test_requests_that_fail(tmp_path: Path, statuses: list[int], junk: int, status: str | None) -> None:
    log = write(tmp_path / "access.log", statuses, junk)
    checks = told(access(log))
    if status is None:
        assert checks[f"housekeeping.access:{log}"].status == "unknown"
        assert f"housekeeping.access_errors:{log}" not in checks
    else:
        assert checks[f"housekeeping.access:{log}"].status == "ok"
        assert checks[f"housekeeping.access_errors:{log}"].status == status


@pytest.mark.parametrize(("empty_ok", "status"), [(False, "unknown"), (True, "ok")])
def test_no_request_at_all(tmp_path: Path, empty_ok: bool, status: str) -> None:
    log = write(tmp_path / "access.log", [])
    assert told(access(log, empty_ok=empty_ok))[f"housekeeping.access:{log}"].status == status


def test_a_log_that_is_not_there_leaves_the_others(tmp_path: Path) -> None:
    checks = told(access(tmp_path / "none.log"))
    assert [check.status for check in checks.values()] == ["unknown"]


def test_what_is_unusual_is_said_after_some_runs(tmp_path: Path) -> None:
    log = write(tmp_path / "access.log", [200] * 50)
    assert f"housekeeping.access_unusual:{log}" not in told(access(log), 3)
    assert told(access(log), 4)[f"housekeeping.access_unusual:{log}"].status == "warning"


def test_baselines_are_of_the_host_and_one_a_day() -> None:
    def report(host: str, day: int, status: str = "ok", requests: float = 1.0) -> dict[str, Any]:
        details = {"baseline": {**USUAL, "requests_per_day": requests}}
        at = f"2026-11-{day:02}T01:00:00Z"
        check = {"id": "housekeeping.access:/a", "host": host, "status": status, "details": details, "observed_at": at}
        return {"checks": [check, {**check, "id": "housekeeping.space"}]}

    reports = [report("a", 1), report("a", 1, requests=2.0), report("b", 2), report("a", 3, "unknown"), report("a", 4)]
    assert [each["requests_per_day"] for each in baselines(reports, "a", "/a")] == [2.0, 1.0]


STATE = {"what": "state", "name": "s"}


def rotation(**more: Any) -> dict[str, Any]:
    part = {"name": "logrotate", "items": [], "errors": [], "faults": [], "logs": 3, "late": [], "copied": []}
    return {"classes": {"rotation": [{**part, "unrotated": [], "never": "", **more}]}, "tokens": [], "digest": "0"}


@pytest.mark.parametrize(
    ("more", "id", "status"),
    [
        ({}, "rotation", "ok"),
        ({"errors": ["bad:2 unknown option"]}, "rotation", "warning"),
        ({"late": [{"log": "/a", "days": 9.0, "period": 1.0}]}, "rotation", "warning"),
        ({"unrotated": [{"log": "/a", "bytes": 5}]}, "rotation", "warning"),
        ({"copied": ["/etc/logrotate.d/a: /a"]}, "rotation_copies", "warning"),
        ({"never": "/var/lib/logrotate/status"}, "rotation", "warning"),
        ({"logs": 0}, "rotation", "unknown"),
        ({"logs": 0, "errors": ["cannot read /etc/logrotate.conf"]}, "rotation", "unknown"),
        ({"faults": ["line 3"]}, "rotation_state", "critical"),
        (
            {"done": {"written": [{"what": "state", "name": "s", "kept": "k"}], "failed": []}},
            "rotation_state",
            "warning",
        ),
        ({"done": {"written": [], "failed": [{**STATE, "why": "w"}]}}, "rotation", "warning"),
    ],
)
def test_rotation(more: dict[str, Any], id: str, status: str) -> None:
    checks = told(rotation(**more))
    assert {name for name, check in checks.items() if check.status != "ok"} == (
        set() if status == "ok" else {f"housekeeping.{id}"}
    )
    assert checks[f"housekeeping.{id}"].status == status


def temporary(**more: Any) -> dict[str, Any]:
    part = {"name": "/tmp", "items": [], "kept": {}, "young": 0, "later": 0, **more}
    return {"classes": {"temporary": [part]}, "tokens": [], "digest": "0"}


def done(**more: Any) -> dict[str, Any]:
    return {"removed": [], "quarantined": [], "kept": [], "failed": [], "freed": 0, "missing": 0, **more}


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, "ok"),
        ({"later": 5}, "warning"),
        ({"kept": {"cannot be looked at: Input/output error": {"count": 1, "names": ["x"]}}}, "warning"),
        ({"kept": {"too many files to look at": {"count": 1, "names": ["x"]}}}, "unknown"),
        ({"done": done(failed=[{"name": "x", "why": "Operation not permitted"}])}, "warning"),
        ({"done": done(failed=[{"name": "x", "why": "in use; it stays in quarantine as y: taken"}])}, "critical"),
        ({"done": done(kept=[{"name": "x", "why": "changed meanwhile"}])}, "ok"),
        ({"strays": [{"name": "x", "why": "in use by process 1"}]}, "critical"),
        ({"strays": [], "done": done(restored=[{"name": "x", "why": "in use by process 1"}])}, "ok"),
    ],
)
def test_temporary_files(more: dict[str, Any], status: str) -> None:
    assert told(temporary(**more))["housekeeping.temporary:/tmp"].status == status


BROKE = {"kind": "HousekeepingError", "message": "It broke.", "remedy": "Mend it."}


@pytest.mark.parametrize("kind", ["journal", "kernels", "temporary", "rotation"])
def test_an_error_afterwards_does_not_hide_what_was_done(kind: str) -> None:
    row = {"name": "x", "what": "configuration", "bytes": 5}
    part = {"name": kind, "error": BROKE, "done": done(removed=[row], written=[row], freed=5)}
    result = {"classes": {kind: [part]}, "tokens": [], "digest": "0"}
    checks, actions = findings(result, THRESHOLDS, lambda path: [], "2026-11-30T12:00:00Z")
    assert checks[0].status == "unknown"
    assert "It broke." in checks[0].message
    (action,) = actions
    assert action["changed"] is True
    assert "x" in str(action["details"])
    assert kind == "rotation" or checks[-1].value == 5


def test_a_part_that_nobody_understands_leaves_the_others() -> None:
    result = temporary()
    result["classes"]["journal"] = [{"name": "journal", "items": []}]
    checks = told(result)
    assert checks["housekeeping.journal"].status == "unknown"
    assert checks["housekeeping.temporary:/tmp"].status == "ok"


def with_journal(folder: Path) -> tuple[dict[str, Any], Path]:
    """Parameters with a journal of which one file may go, and that file."""
    at = time.time() - 200 * 86400
    name = f"{'0' * 32}/system@{'0' * 32}-{1:016x}-{round(at * 1e6):016x}.journal"
    path = journal(folder / name, [{"at": str(at), "MESSAGE": "m"}])
    os.utime(path, (at, at))
    options = {"days": 150.0, "retention_days": 123.0, "folders": [str(folder)]}
    return {**NOTHING, "journal": options}, path


@pytest.mark.parametrize("approved", [["b"], []])
def test_a_plan_that_was_not_approved(tmp_path: Path, approved: list[str]) -> None:
    params, old = with_journal(tmp_path)
    plan = engine.plan(params)
    assert len(plan["tokens"]) == 1
    result = engine.run({**params, "planned": plan["tokens"], "approved": approved})
    assert old.exists()
    assert result["changed"] is False
    # What would go is told as before, and that it was refused.
    assert result["classes"]["journal"][0]["items"] == plan["classes"]["journal"][0]["items"]
    checks, actions = findings(result, THRESHOLDS, lambda path: [], "2026-11-30T12:00:00Z")
    assert "housekeeping.journal" in {check.id for check in checks}
    (refused,) = [action for action in actions if action["status"] == "failed"]
    assert "not among those that were approved" in refused["message"]
    assert plan["digest"] in refused["message"]


@pytest.mark.parametrize("approved", [None, "its own"])
def test_a_plan_that_was_approved(tmp_path: Path, approved: str | None) -> None:
    params, old = with_journal(tmp_path)
    plan = engine.plan(params)
    given = None if approved is None else [plan["digest"]]
    result = engine.run({**params, "planned": plan["tokens"], "approved": given})
    assert "refused" not in result
    assert not old.exists()


def test_nothing_planned_needs_no_approval() -> None:
    assert "refused" not in engine.run({**NOTHING, "planned": [], "approved": []})


def test_a_digest_is_of_what_goes_however_often_it_is_listed() -> None:
    assert engine.digest(["b", "a", "a"]) == engine.digest(["a", "b"])


def test_a_plan_of_rotation_alone_has_its_digest() -> None:
    check = told(rotation(items=[STATE]))["housekeeping.space"]
    assert check.details["digest"] == "0"
    assert "0" in check.message


def test_what_went_back_is_a_change() -> None:
    part = temporary(done=done(restored=[{"name": "x", "why": "in use by process 1"}]))
    (action,) = findings(part, {}, lambda _: [], "2026-11-30T00:00:00Z")[1]
    assert (action["status"], action["changed"]) == ("ok", True)
    assert action["details"]["restored"] == [{"name": "x", "why": "in use by process 1"}]


class Part:
    """A class that can be cleaned up. All of them call their entries the same."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.given: list[str] = []

    def plan(self) -> dict[str, Any]:
        return {"items": [{"name": each, "token": each} for each in self.tokens]}

    def apply(self, tokens: Any) -> dict[str, Any]:
        self.given = sorted(tokens)
        return {**self.plan(), "done": {"removed": [], "missing": len(set(tokens) - set(self.tokens))}}


def test_each_part_has_its_own_of_what_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {("temporary", "/a"): Part(["x", "y"]), ("temporary", "/b"): Part(["x"]), ("journal", "/a"): Part(["z"])}
    monkeypatch.setattr(
        engine,
        "_classes",
        lambda *_: ((kind, name, lambda part=part: part) for (kind, name), part in parts.items()),
    )
    planned = engine.plan(NOTHING)
    assert len(set(planned["tokens"])) == 4
    parts["temporary", "/b"].tokens = []
    done = engine.run({**NOTHING, "planned": planned["tokens"], "approved": [planned["digest"]]})
    assert [part.given for part in parts.values()] == [["x", "y"], ["x"], ["z"]]
    classes = done["classes"]
    assert [part["done"]["missing"] for part in (*classes["temporary"], *classes["journal"])] == [0, 1, 0]


def test_a_directory_in_another_one_that_is_declared(tmp_path: Path) -> None:
    """The outer one would take away the inner one, with what is set aside there."""
    one = {"days": 1, "quarantine_days": 0, "owners": [], "names": ["*"], "keep": [], "reads": True}
    outer, inner, beside = tmp_path / "a", tmp_path / "a" / "jobs" / "old", tmp_path / "ab"
    for each in (inner, beside):
        each.mkdir(parents=True)

    def told(**more: Any) -> list[str]:
        given = [{**one, **more, "path": f"{outer}/."}, {**one, "path": str(inner)}, {**one, "path": str(beside)}]
        return [part_message(part) for part in engine.plan({**NOTHING, "temporary": given})["classes"]["temporary"]]

    first, second, alone = told()
    assert f"{inner} lies in {outer}/." in first
    assert f"{inner} lies in {outer}/." in second
    assert "lies in" not in alone
    # Who keeps it out of the outer one's reach may have both.
    for kept in ({"keep": ["job?"]}, {"names": ["cache-*"]}):
        assert not [text for text in told(**kept) if "lies in" in text]
    assert "lies in" in told(keep=["old"])[0]


@pytest.mark.parametrize("other", ["{0}", "{0}/", "/{0}", "{0}/./"])
def test_a_directory_that_is_declared_twice(tmp_path: Path, other: str) -> None:
    """What one of them sets aside for a week, the other would remove at once."""
    one = {"days": 1, "quarantine_days": 0, "owners": [], "names": ["*"], "keep": [], "reads": True}
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("c")
    paths = [str(tmp_path / "b"), str(tmp_path / "c"), other.format(tmp_path / "b"), str(tmp_path / "link")]
    found = engine.plan({**NOTHING, "temporary": [{**one, "path": path} for path in paths]})
    first, alone, second, link = found["classes"]["temporary"]
    assert "is a link" in part_message(link)
    for part in (first, second):
        assert "is declared more than once" in part["error"]["message"]
    assert "is declared more than once" not in part_message(alone)
    same = [{**one, "path": str(tmp_path / "none")}] * 2
    for part in engine.plan({**NOTHING, "temporary": same})["classes"]["temporary"]:
        assert "is declared more than once" in part_message(part)


def part_message(part: dict[str, Any]) -> str:
    message: str = part.get("error", {}).get("message", "")
    return message


@pytest.mark.parametrize(("ahead", "goes"), [(-2 * 3600, False), (2 * 3600, False), (60, True)])
def test_nothing_goes_by_age_while_the_clock_is_wrong(tmp_path: Path, ahead: float, goes: bool) -> None:
    params, old = with_journal(tmp_path)
    params.update(clock=time.time() - ahead, temporary=[{"path": str(tmp_path / "none")}])
    plan = engine.plan(params)
    found = told(plan)["housekeeping.journal"]
    assert (len(plan["tokens"]), found.status) == ((1, "ok") if goes else (0, "unknown"))
    if not goes:
        assert "clock" in found.message
        assert "clock" in told(plan)[f"housekeeping.temporary:{tmp_path / 'none'}"].message
        planned = frozenset(engine.plan({**params, "clock": time.time()})["tokens"])
        assert not engine.run({**params, "approved": None, "planned": list(planned)})["changed"]
        assert old.exists()


def test_the_digest_to_approve_is_among_the_actions(tmp_path: Path) -> None:
    params, _old = with_journal(tmp_path)
    result = engine.plan(params)
    _checks, actions = findings(result, THRESHOLDS, lambda path: [], "2026-11-30T12:00:00Z")
    (plan,) = [action for action in actions if action["id"] == "housekeeping.plan"]
    assert plan["status"] == "planned"
    assert f"The plan is known by {result['digest']}." in plan["message"]
    _checks, actions = findings(engine.plan(NOTHING), THRESHOLDS, lambda path: [], "2026-11-30T12:00:00Z")
    assert actions == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"removed": [{"name": "x", "bytes": 5}], "freed": 5}, "1 entry removed (5 B won)."),
        ({"restored": [{"name": "x", "why": "w"}] * 2}, "2 entries put back (0 B won)."),
        ({"quarantined": [{"name": "x", "bytes": 5}]}, "1 entry set aside (0 B won)."),
        ({"failed": [{"name": "x", "why": "busy"}]}, "Nothing was done. x failed: busy."),
    ],
)
def test_what_was_cleaned_is_told_by_what_became_of_it(more: dict[str, Any], message: str) -> None:
    _checks, actions = findings(temporary(done=done(**more)), THRESHOLDS, lambda path: [], "2026-11-30T12:00:00Z")
    assert [action["message"] for action in actions] == [message]


def test_a_state_that_was_just_repaired_is_not_one_of_a_logrotate_that_never_ran() -> None:
    row = {"what": "state", "name": "/s", "kept": "/s.damaged"}
    part = {**{name: [] for name in ("errors", "faults", "late", "copied", "unrotated", "items")}, "logs": 3}
    part.update(name="logrotate", never="/s", done={"written": [row], "failed": []})
    result = {"classes": {"rotation": [part]}, "tokens": [], "digest": "0"}
    found = told(result)
    assert found["housekeeping.rotation"].status == "ok"
    assert "repaired" in found["housekeeping.rotation_state"].message
    part["done"] = {"written": [], "failed": []}
    assert told(result)["housekeeping.rotation"].status == "warning"
