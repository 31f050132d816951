"""The report of a run as data: contract 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check, as_dicts, unknown
from ansible_collections.tradingflow.maintenance.plugins.module_utils.run import write_spool
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import report as reports
from referencing import Registry, Resource

from tests.conftest import COLLECTION
from tests.unit import report_fixtures as days

AT = "2026-11-23T20:40:30Z"


def validate(report: dict[str, Any]) -> None:
    check, contract = (json.loads((COLLECTION / f"schemas/{name}-1.json").read_text()) for name in ("check", "report"))
    registry: Registry[Any] = Registry().with_resource(check["$id"], Resource.from_contents(check))
    jsonschema.Draft202012Validator(contract, registry=registry).validate(json.loads(json.dumps(report)))


def check(id: str, status: str = "ok", value: Any = 1, **given: Any) -> dict[str, Any]:
    (result,) = as_dicts([Check(id, id, status, value, observed_at=AT, **given)])
    return result


def action(status: str = "ok", **given: Any) -> dict[str, Any]:
    return {"id": "copy", "title": "Copy", "status": status, "changed": True, "message": "Copied.", **given}


def build(
    directory: Path, history: list[dict[str, Any]] | None = None, fail_on: str = "critical", **run: Any
) -> dict[str, Any]:
    given = {
        "run_id": "20261123T204030Z-daily-aaaaaa",
        "environment": "test",
        "playbook": "daily",
        "started_at": AT,
        "actor": "anna",
        "check_mode": False,
        "plan": [],
        **run,
    }
    report = reports.build(directory, given, finished_at="2026-11-23T20:41:12Z", fail_on=fail_on, history=history or [])
    # Ten thousand checks take seconds to validate, and are all alike.
    validate({**report, "checks": report["checks"][:100]})
    return report


def found(report: dict[str, Any], id: str, host: str = "h1") -> dict[str, Any]:
    (result,) = (item for item in report["checks"] if (item["id"], item["host"]) == (id, host))
    assert isinstance(result, dict)
    return result


@pytest.fixture(scope="module", params=["good", "bad"])
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    return request.param, days.month(tmp_path_factory.mktemp("month"), bad=request.param == "bad", runs=5)[0]


def test_days(day: tuple[str, dict[str, Any]]) -> None:
    name, report = day
    validate(report)
    assert (report["worst_status"], report["passed"]) == (("ok", True) if name == "good" else ("critical", False))
    assert report["versions"]["tool"] in (COLLECTION / "galaxy.yml").read_text()


def test_schema_refuses_ok_without_value(tmp_path: Path) -> None:
    write_spool(tmp_path, "system", "h1", [check("system.load")], [])
    report = build(tmp_path)
    report["checks"][0]["value"] = None
    with pytest.raises(jsonschema.ValidationError):
        validate(report)


def test_nothing_handed_in_is_unknown_and_all_missing(tmp_path: Path) -> None:
    report = build(tmp_path, plan=[{"area": "system", "host": host} for host in ("h1", "h2")])
    assert (report["worst_status"], report["passed"]) == ("unknown", False)
    assert [(item["area"], item["host"]) for item in report["expected_missing"]] == [("system", "h1"), ("system", "h2")]
    assert report["counts"] == {"ok": 0, "warning": 0, "unknown": 2, "critical": 0}
    assert found(report, "system.missing", "h2")["remedy"]


def test_nothing_expected_and_nothing_handed_in_is_not_good(tmp_path: Path) -> None:
    report = build(tmp_path)
    assert (report["worst_status"], report["passed"], report["counts"]["unknown"]) == ("unknown", False, 1)


def test_an_answer_without_content_is_missing(tmp_path: Path) -> None:
    write_spool(tmp_path, "system", "h1", [], [])
    assert len(build(tmp_path, plan=[{"area": "system", "host": "h1"}])["expected_missing"]) == 1


def test_unreadable_answer_is_unknown(tmp_path: Path) -> None:
    write_spool(tmp_path, "system", "h1", [check("system.load")], [])
    (tmp_path / "spool" / "system@h1@extra.json").write_text('{"area": "system", "ho')
    report = build(tmp_path, plan=[{"area": "system", "host": "h1"}])
    assert (report["worst_status"], found(report, "system.readable")["status"]) == ("unknown", "unknown")


def test_worst_first_then_area_host_id(tmp_path: Path) -> None:
    write_spool(tmp_path, "b", "h1", [check("b.y"), check("b.x"), check("b.bad", "critical")], [])
    write_spool(tmp_path, "a", "h2", [check("a.x"), check("a.w", "warning"), check("a.u", "unknown", None)], [])
    write_spool(tmp_path, "a", "h1", [check("a.x"), check("a.z", "critical")], [])
    order = [(item["status"], item["area"], item["host"], item["id"]) for item in build(tmp_path)["checks"]]
    assert order == [
        ("critical", "a", "h1", "a.z"),
        ("critical", "b", "h1", "b.bad"),
        ("unknown", "a", "h2", "a.u"),
        ("warning", "a", "h2", "a.w"),
        ("ok", "a", "h1", "a.x"),
        ("ok", "a", "h2", "a.x"),
        ("ok", "b", "h1", "b.x"),
        ("ok", "b", "h1", "b.y"),
    ]


@pytest.mark.parametrize(
    ("status", "fail_on", "passed"),
    [
        ("ok", "warning", True),
        ("warning", "critical", True),
        ("warning", "warning", False),
        ("unknown", "critical", False),
        ("critical", "critical", False),
        ("critical", "never", True),
    ],
)
def test_passed(tmp_path: Path, status: str, fail_on: str, passed: bool) -> None:
    write_spool(tmp_path, "a", "h1", [check("a.x", status)], [])
    report = build(tmp_path, fail_on=fail_on)
    assert (report["passed"], report["fail_on"]) == (passed, fail_on)


@pytest.mark.parametrize(
    "given",
    [
        {"id": "a.x", "status": "ok", "value": None, "title": "X", "observed_at": AT},
        {"id": "a.x", "status": "green", "value": 1, "title": "X", "observed_at": AT},
        {"id": "a.x", "value": 1, "observed_at": AT},
        {"id": "a.x", "status": "ok", "value": 1},
        {"id": "Nicht so", "status": "ok", "value": 1, "observed_at": AT},
        {},
        None,
        "text",
        [],
    ],
)
def test_a_check_that_makes_no_sense_is_unknown(tmp_path: Path, given: Any) -> None:
    write_spool(tmp_path, "a", "h1", [given], [])
    report = build(tmp_path)
    assert report["worst_status"] == "unknown"
    assert "Not to be relied on" in report["checks"][0]["message"]


def test_a_failed_action_is_critical(tmp_path: Path) -> None:
    write_spool(tmp_path, "backup", "h1", [check("backup.x", "warning")], [action("failed", message="Disk full.")])
    report = build(tmp_path)
    assert report["worst_status"] == "critical"
    assert found(report, "backup.copy")["message"] == "Disk full."
    assert report["actions"][0]["area"] == "backup"


def test_a_failed_action_whose_area_says_so_adds_nothing(tmp_path: Path) -> None:
    write_spool(tmp_path, "backup", "h1", [check("backup.made", "critical")], [action("failed")])
    assert [item["id"] for item in build(tmp_path)["checks"]] == ["backup.made"]


@pytest.mark.parametrize("status", ["running", None, 7])
def test_an_action_of_no_known_status_failed(tmp_path: Path, status: Any) -> None:
    write_spool(tmp_path, "backup", "h1", [check("backup.x")], [action(status)])
    report = build(tmp_path)
    assert (report["actions"][0]["status"], report["worst_status"]) == ("failed", "critical")


@pytest.mark.parametrize("order", [("ok", "critical"), ("critical", "ok")])
def test_the_same_check_twice_keeps_the_worst(tmp_path: Path, order: tuple[str, str]) -> None:
    write_spool(tmp_path, "a", "h1", [check("a.x", order[0])], [])
    write_spool(tmp_path, "a", "h1", [check("a.x", order[1])], [], part="again")
    write_spool(tmp_path, "a", "h2", [check("a.x")], [])
    report = build(tmp_path)
    assert report["counts"] == {"ok": 1, "warning": 0, "unknown": 0, "critical": 1}
    assert "Handed in 2 times" in found(report, "a.x")["message"]
    assert "Handed in" not in found(report, "a.x", "h2")["message"]


def test_two_long_ids_stay_two(tmp_path: Path) -> None:
    write_spool(tmp_path, "a", "h1", [check(f"a.x:{'n' * 5000}{i}") for i in range(2)], [])
    report = build(tmp_path)
    assert report["counts"]["ok"] == 2
    assert all(len(item["id"]) < 250 for item in report["checks"])


def test_huge_texts_are_cut_and_say_so(tmp_path: Path) -> None:
    # Masking costs 5 µs a character: no more of them than it takes.
    given = check("a.x", "warning", message="m" * 40_000, remedy="r" * 40_000, details={"log": ["l" * 3000] * 40})
    write_spool(
        tmp_path, "a", "h1", [given], [action(message="m" * 40_000, details={str(i): "x" * 900 for i in range(99)})]
    )
    report = build(tmp_path)
    assert len(json.dumps(report)) < 60_000
    assert "40,000 characters in all" in report["checks"][0]["message"]
    assert "left_out" in report["checks"][0]["details"]
    assert "left_out" in report["actions"][0]["details"]


def test_a_clock_set_back_gives_no_negative_time(tmp_path: Path) -> None:
    assert build(tmp_path, started_at="2026-11-23T21:00:00Z")["duration_s"] == 0
    assert build(tmp_path)["duration_s"] == 42


class TestChanges:
    def report(self, tmp_path: Path, name: str, checks: list[dict[str, Any]], **given: Any) -> dict[str, Any]:
        write_spool(tmp_path / name, "a", "h1", checks, given.pop("actions", []))
        return build(tmp_path / name, run_id=f"{name}-daily", **given)

    def changes(self, report: dict[str, Any]) -> dict[str, list[str]]:
        return {kind: [change["id"] for change in listed] for kind, listed in report["changes"].items() if listed}

    def test_without_history(self, tmp_path: Path) -> None:
        report = self.report(tmp_path, "1", [check("a.x", "critical")])
        assert (self.changes(report), report["previous_run_id"]) == ({}, None)

    def test_each_kind(self, tmp_path: Path) -> None:
        before = {
            "n": "ok",
            "w": "warning",
            "l": "critical",
            "b": "critical",
            "r": "critical",
            "s": "critical",
            "u": "unknown",
        }
        after = {
            "n": "warning",
            "w": "critical",
            "l": "unknown",
            "b": "warning",
            "r": "ok",
            "s": "critical",
            "u": "warning",
        }
        first = self.report(tmp_path, "1", [check(f"a.{key}", status, 1) for key, status in before.items()])
        second = self.report(
            tmp_path, "2", [check(f"a.{key}", status, 2) for key, status in after.items()], history=[first]
        )
        assert self.changes(second) == {
            "new": ["a.n"],
            "worse": ["a.w"],
            "lost": ["a.l"],
            "better": ["a.b", "a.u"],
            "resolved": ["a.r"],
        }
        assert second["previous_run_id"] == "1-daily"
        assert second["changes"]["new"][0] | {"title": ""} == {
            "host": "h1",
            "area": "a",
            "id": "a.n",
            "title": "",
            "unit": "",
            "before": "ok",
            "after": "warning",
            "value_before": 1,
            "value_after": 2,
        }

    def test_the_same_id_on_another_host_is_another_check(self, tmp_path: Path) -> None:
        first = self.report(tmp_path, "1", [check("a.x", "critical")])
        write_spool(tmp_path / "2", "a", "h2", [check("a.x", "critical")], [])
        assert self.changes(self.report(tmp_path, "2", [check("a.x", "critical")], history=[first])) == {"new": ["a.x"]}

    def test_what_vanished_is_lost_not_resolved(self, tmp_path: Path) -> None:
        first = self.report(tmp_path, "1", [check("a.x:1", "critical"), check("a.x:2"), check("a.y")])
        second = self.report(tmp_path, "2", [check("a.y")], history=[first])
        assert self.changes(second) == {"lost": ["a.x:1", "a.x:2"]}

    @pytest.mark.parametrize(
        ("playbook", "lost"), [("migrate", ["a.bad"]), ("patch", ["a.bad"]), ("unheard_of", ["a.bad", "a.x"])]
    )
    def test_a_procedure_with_less_to_do_loses_no_ok(self, tmp_path: Path, playbook: str, lost: list[str]) -> None:
        given = {"playbook": playbook}
        first = self.report(tmp_path, "1", [check("a.x"), check("a.y"), check("a.bad", "critical")], **given)
        second = self.report(tmp_path, "2", [check("a.y")], history=[first], **given)
        assert self.changes(second) == {"lost": lost}

    def test_a_run_with_tags_loses_nothing_and_hides_nothing(self, tmp_path: Path) -> None:
        first = self.report(tmp_path, "1", [check("a.x", "critical")])
        write_spool(tmp_path / "2", "b", "h1", [check("b.x")], [])
        second = build(tmp_path / "2", [first])
        assert self.changes(second) == {}
        third = self.report(tmp_path, "3", [check("a.x", "critical")], history=[first, second])
        assert self.changes(third) == {}

    def test_an_area_that_answers_again_is_resolved(self, tmp_path: Path) -> None:
        plan = [{"area": "a", "host": "h1"}]
        zero = self.report(tmp_path, "0", [check("a.x"), check("a.bad", "critical")])
        first = build(tmp_path / "1", [zero], plan=plan)
        assert self.changes(first) == {"new": ["a.missing"], "lost": ["a.bad"]}
        second = self.report(tmp_path, "2", [check("a.x")], plan=plan, history=[zero, first])
        assert self.changes(second) == {"resolved": ["a.missing"]}

    def test_a_whole_that_comes_back_in_parts_is_resolved(self, tmp_path: Path) -> None:
        silent = as_dicts([unknown("a.x", "X", "View missing", observed_at=AT)])
        zero = self.report(tmp_path, "0", [check("a.x:1"), check("a.y")])
        first = self.report(tmp_path, "1", [*silent, check("a.y")], history=[zero])
        assert self.changes(first) == {"new": ["a.x"]}
        assert self.changes(self.report(tmp_path, "2", [check("a.x:1"), check("a.y")], history=[zero, first])) == {
            "resolved": ["a.x"]
        }

    def test_an_action_that_works_again_is_resolved(self, tmp_path: Path) -> None:
        first = self.report(tmp_path, "1", [check("a.x")], actions=[action("failed")])
        second = self.report(tmp_path, "2", [check("a.x")], actions=[action()], history=[first])
        assert self.changes(second) == {"resolved": ["a.copy"]}


class TestHistory:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        for day in range(5):
            self.add(tmp_path, f"2026112{day}T000000Z-daily-abc")
        return tmp_path

    def add(self, root: Path, run_id: str, **run: Any) -> Path:
        directory = root / "daily" / run_id
        write_spool(directory, "a", "h1", [check("a.x")], [])
        report = build(directory, run_id=run_id, **run)
        return reports.write(report, directory, [])["json"]

    def load(self, root: Path, **given: Any) -> list[str]:
        return [report["run_id"][6:8] for report in reports.load_history(root, "daily", environment="test", **given)]

    def test_oldest_first_the_newest_of_them_before_a_run(self, root: Path) -> None:
        assert self.load(root) == ["20", "21", "22", "23", "24"]
        assert self.load(root, limit=2) == ["23", "24"]
        assert self.load(root, before="20261123T000000Z-daily-abc") == ["20", "21", "22"]
        assert self.load(root, limit=0) == []
        assert reports.load_history(root, "weekly", environment="test") == []

    def test_leaves_out_what_is_no_report_of_here(self, root: Path) -> None:
        self.add(root, "20261125T000000Z-daily-abc", environment="production")
        self.add(root, "20261126T000000Z-daily-abc", check_mode=True)
        broken = (
            "",
            "[]",
            "null",
            "{",
            '{"schema": 1}',
            '{"schema": "urn:tradingflow:maintenance:report:1", "checks": 5}',
        )
        for number, text in enumerate(broken):
            folder = root / "daily" / f"20261127T00000{number}Z-daily-abc"
            folder.mkdir()
            (folder / "report.json").write_text(text)
        killed = root / "daily" / "20261128T000000Z-daily-abc"
        killed.mkdir()
        foreign = self.add(root, "20261129T000000Z-daily-abc")
        foreign.write_text(foreign.read_text().replace("report:1", "report:2"))
        reports.point_latest(killed)
        assert self.load(root) == ["20", "21", "22", "23", "24"]

    def test_reads_no_more_files_than_asked(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[str] = []
        original = Path.read_text

        def counting(path: Path, *args: Any, **kwargs: Any) -> str:
            text = original(path, *args, **kwargs)
            read.append(path.name)
            return text

        monkeypatch.setattr(Path, "read_text", counting)
        self.load(root, limit=3)
        assert len(read) == 3
