"""Requirements as data: what is in force on a day, what supports it, and what the reader refuses."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance import requirements
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance.controls import CONTROLS
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from jsonschema import Draft202012Validator

from tests.conftest import COLLECTION

FILE = COLLECTION / "compliance/requirements.json"
SCHEMA = Draft202012Validator(json.loads((COLLECTION / "schemas/compliance-requirements-1.json").read_text()))
DATA: dict[str, Any] = json.loads(FILE.read_text())

Change = Callable[[dict[str, Any]], Any]


def test_those_of_the_collection_are_whole() -> None:
    catalogue = requirements.load(FILE)
    assert not list(SCHEMA.iter_errors(DATA))
    assert "no legal advice" in catalogue.notice
    # Every control supports something, or nobody would miss it.
    assert {control for each in catalogue.requirements for control in each.controls} == CONTROLS.keys()


def in_force(jurisdiction: str, on: date) -> set[str]:
    found = requirements.load(FILE).within([jurisdiction])
    return {each.id for each in found if each.clock and each.applies(on)}


def test_the_requirement_of_the_day_is_the_one_that_counts() -> None:
    assert in_force("EU", date(2026, 3, 1)) == {"eu-rts25-2017-574"}
    assert in_force("EU", date(2026, 3, 2)) == {"eu-rts25-2025-1155"}
    assert in_force("UK", date(2026, 3, 1)) == in_force("UK", date(2026, 11, 30)) == {"uk-rts25-2017-574"}
    assert in_force("EU", date(2017, 12, 31)) == set()


def test_the_firms_own_are_of_every_jurisdiction() -> None:
    found = requirements.load(FILE).within(["US-CA"])
    assert {each.jurisdiction for each in found} == {"any", "US-CA"}
    with pytest.raises(ConfigurationError, match="no requirement of the jurisdiction Atlantis"):
        requirements.load(FILE).within(["EU", "Atlantis"])


def first(data: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = data["requirements"][0]
    return entry


def rts(data: dict[str, Any]) -> dict[str, Any]:
    (entry,) = [each for each in data["requirements"] if each["id"] == "eu-rts25-2017-574"]
    assert isinstance(entry, dict)
    return entry


WRONG: dict[str, tuple[Change, str]] = {
    "version": (lambda data: data.update(version=2), "version"),
    "true is no version": (lambda data: data.update(version=True), "version"),
    "no notice": (lambda data: data.update(notice=" "), "notice"),
    "empty": (lambda data: data.update(requirements=[]), "list with something in it"),
    "more at the top": (lambda data: data.update(more=1), "nothing else"),
    "unknown key": (lambda data: first(data).update(untill="2030-01-01"), "no others"),
    "missing key": (lambda data: first(data).pop("human"), "has the keys"),
    "unknown control": (lambda data: first(data)["controls"].append("compliance.nothing"), "controls of"),
    "unknown kind of record": (lambda data: first(data)["ledger"].append("party"), "ledger of"),
    "no id of a check": (lambda data: first(data)["checks"].append("backups"), "no ids"),
    "unknown jurisdiction": (lambda data: first(data).update(jurisdiction="Mars"), "jurisdiction of"),
    "nothing that supports it": (lambda data: first(data).update(controls=[], checks=[]), "nothing that is measured"),
    "no such day": (lambda data: first(data).update({"from": "2026-02-30"}), "calendar"),
    "another form of day": (lambda data: first(data).update({"from": "20260228"}), "not like 2026-01-31"),
    "ends before it begins": (lambda data: rts(data).update(until="2018-01-03"), "ends before"),
    "superseded by nothing": (lambda data: rts(data).update(superseded_by="eu-none"), "what follows is not there"),
    "superseded without an end": (lambda data: rts(data).update(until=None), "no end"),
    "a gap before the successor": (lambda data: rts(data).update(until="2026-03-01"), "days on which nothing applies"),
    "id twice": (lambda data: data["requirements"].append(copy.deepcopy(first(data))), "there twice"),
    "clock without its control": (lambda data: first(data).update(clock=rts(data)["clock"]), "only then"),
    "control without a clock": (lambda data: rts(data).pop("clock"), "needs clock"),
    "a clock of no activity": (lambda data: rts(data)["clock"].pop("other"), "clock of"),
    "a clock in numbers": (lambda data: rts(data)["clock"].update(other=1), "as text"),
    "a clock of nothing": (lambda data: rts(data)["clock"].update(other="0"), "above 0"),
    "a clock that is none": (lambda data: rts(data)["clock"].update(other="NaN"), "above 0"),
    "owner is no text": (lambda data: first(data).update(owner=None), "owner of"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_of_the_form_is_refused(name: str, tmp_path: Path) -> None:
    change, why = WRONG[name]
    data = copy.deepcopy(DATA)
    change(data)
    path = tmp_path / "requirements.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigurationError, match=why):
        requirements.load(path)


def test_a_file_that_says_a_thing_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "requirements.json"
    path.write_text(FILE.read_text().replace('"version": 1,', '"version": 1, "version": 1,', 1))
    with pytest.raises(ConfigurationError, match="given twice"):
        requirements.load(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        requirements.load(tmp_path / "none.json")
