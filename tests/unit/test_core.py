"""Checks, the spool, the plan: what all areas stand on."""

from __future__ import annotations

import json
import math
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import checks, run, storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils.words import amount, plural
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.scope import asked_for, scope_of
from jsonschema import Draft202012Validator

from tests.conftest import COLLECTION

SCHEMA = Draft202012Validator(json.loads((COLLECTION / "schemas/check-1.json").read_text()))


@pytest.mark.parametrize(
    ("value", "below", "status"),
    [
        (79, False, "ok"),
        (80, False, "warning"),
        (89.9, False, "warning"),
        (90, False, "critical"),
        (Decimal("90.0000000000000001"), False, "critical"),
        (math.inf, False, "critical"),
        (91, True, "ok"),
        (90, True, "critical"),
        (None, False, "unknown"),
        (math.nan, False, "unknown"),
        (Decimal("NaN"), True, "unknown"),
    ],
)
def test_judge(value: Any, below: bool, status: str) -> None:
    check = checks.judge("a.b", "Thing", value, warning=80, critical=90, message="m", remedy="r", below=below)
    assert check.status == status
    assert (check.remedy == "") == (status == "ok")
    SCHEMA.validate(check.as_dict())


def test_judge_without_thresholds_is_information() -> None:
    assert checks.judge("a.b", "Thing", 10**9, warning=None, critical=None, message="m").status == "ok"


def test_ok_needs_a_value() -> None:
    with pytest.raises(ValueError, match="not measured"):
        checks.Check("a.b", "Thing", "ok", None)
    assert list(SCHEMA.iter_errors({**checks.Check("a.b", "T", "ok", 1).as_dict(), "value": None}))


def test_no_digit_of_money_is_lost() -> None:
    amount = Decimal("12345678901234567890.123456789")
    assert checks.Check("a.b", "T", "warning", amount).as_dict()["value"] == "12345678901234567890.123456789"


def test_worst() -> None:
    assert checks.worst([]) == "unknown"
    assert checks.worst(["ok"]) == "ok"
    assert checks.worst(["ok", "warning", "unknown"]) == "unknown"
    assert checks.worst(["unknown", "critical", "ok"]) == "critical"


@pytest.mark.parametrize(
    ("status", "fail_on", "fails"),
    [
        ("ok", "warning", False),
        ("warning", "warning", True),
        ("warning", "critical", False),
        ("unknown", "critical", True),
        ("critical", "critical", True),
        ("critical", "never", False),
    ],
)
def test_fails(status: str, fail_on: str, fails: bool) -> None:
    assert checks.fails(status, fail_on) is fails


def test_spool_keeps_strange_names_apart_and_private(tmp_path: Path) -> None:
    host = "web 1/../'ü%@"
    run.write_spool(tmp_path, "system", host, [{"id": "system.x"}], [])
    run.write_spool(tmp_path, "system", host, [{"id": "system.y"}], [], part="finished")
    run.write_spool(tmp_path, "system", "web", [], [])
    (tmp_path / "spool" / "broken@x.json").write_text('{"area": "sys')
    records = list(run.read_spool(tmp_path))
    assert sorted((record["host"], len(record["checks"])) for record in records) == [("web", 0), (host, 1), (host, 1)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("spool/*%*")} == {0o600}


def test_write_private_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    run.write_private(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        run.write_private(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("run_tags", "skip_tags", "wanted"),
    [
        (["all"], [], True),
        ([], [], True),
        (["health"], [], True),
        (["database"], [], True),
        (["trading"], [], False),
        (["all"], ["database"], False),
        (["health"], ["database"], False),
        (["tagged"], [], True),
        (["untagged"], [], False),
    ],
)
def test_tags_as_ansible_reads_them(run_tags: list[str], skip_tags: list[str], wanted: bool) -> None:
    assert asked_for(["health", "database"], run_tags, skip_tags) is wanted


def test_untagged_areas_as_ansible_reads_them() -> None:
    assert asked_for([], ["untagged"], []) is True
    assert asked_for([], ["all"], ["untagged"]) is False
    assert asked_for([], ["tagged"], []) is False
    assert asked_for([], ["health"], []) is False


@pytest.mark.parametrize(
    ("tags", "skip_tags", "within", "asked", "left_out"),
    [
        (["all"], [], "ab", ["system a", "system b", "trading a"], []),
        (["health", "trading"], [], "abc", ["system a", "system b", "trading a"], []),
        (["system"], [], "ab", ["system a", "system b"], ["trading a"]),
        (["all"], ["trading"], "ab", ["system a", "system b"], ["trading a"]),
        (["all"], [], "bc", ["system b"], ["system a", "trading a"]),
        (["sytem"], [], "ab", [], ["system a", "system b", "trading a"]),
    ],
)
def test_scope_says_what_is_left_out(
    tags: list[str], skip_tags: list[str], within: str, asked: list[str], left_out: list[str]
) -> None:
    plan = [
        {"area": "system", "hosts": ["a", "b"], "tags": ["health", "system"]},
        {"area": "trading", "hosts": ["a"], "tags": ["trading"]},
    ]
    found, scope = scope_of(plan, tags=tags, skip_tags=skip_tags, limit="x", within=within)
    assert [f"{item['area']} {item['host']}" for item in found] == asked
    assert [f"{item['area']} {item['host']}" for item in scope["left_out"]] == left_out
    assert scope["partial"] is bool(left_out)


def test_storage_keys() -> None:
    assert storage.key({"prefix": "/x/"}, "backups", "/local/", "") == "x/backups/local"
    assert storage.key({"prefix": None}, "backups") == "backups"


@pytest.mark.parametrize(
    ("count", "nouns", "told"),
    [
        (1, ("break",), "1 break"),
        (2, ("break",), "2 breaks"),
        (0, ("break",), "0 breaks"),
        (12345, ("entry", "entries"), "12,345 entries"),
    ],
)
def test_plural(count: int, nouns: tuple[str, ...], told: str) -> None:
    assert plural(count, *nouns) == told
    assert plural(0, "execution is", "executions are", none="No") == "No executions are"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        ("-507223.930000000", "-507,223.93"),
        ("1E+7", "10,000,000"),
        ("100", "100"),
        ("0.000", "0"),
        ("-0.00", "0"),
        ("1.23456789012345678901234567890", "1.2345678901234567890123456789"),
        ("NaN", "NaN"),
    ],
)
def test_amount_loses_no_digit(number: str, told: str) -> None:
    assert amount(Decimal(number)) == told
