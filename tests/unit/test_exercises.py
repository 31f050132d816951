"""docs/exercises.md has a section for each trouble, with the checks that it turns; and make knows them."""

from __future__ import annotations

import re

import pytest

from sandbox.trouble import TROUBLES, in_trouble
from tests.conftest import ROOT

PAGE = (ROOT / "docs/exercises.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}

#: What was asked for.
NAMES = {
    *("stuck-transactions", "failed-transactions", "position-break", "duplicate-fill", "missing-fill", "limit-breach"),
    *("dead-strategy", "slow-endpoint", "error-burst", "unhealthy-app", "disk-full", "stale-venue-statement"),
    *("missing-view", "stale-backup", "damaged-backup", "blocked-sessions", "invalid-index", "database-down"),
    "storage-down",
}


def test_a_section_for_each() -> None:
    assert set(TROUBLES) == set(SECTIONS) == NAMES


@pytest.mark.parametrize("name", TROUBLES)
def test_says_what_it_does_and_turns(name: str) -> None:
    trouble, section = TROUBLES[name], SECTIONS[name]
    first = " ".join(section.split("\n\n")[1].split())
    assert first[0].lower() + first[1:] == trouble.does[0].lower() + trouble.does[1:]
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \|", section, re.MULTILINE)
    assert dict(rows) == dict(trouble.turns)
    assert "**It means**" in section
    assert "**Do**" in section


def test_an_area_leaves_what_is_named_to_its_own_line() -> None:
    turns = TROUBLES["database-down"].turns
    assert in_trouble(turns, "database.answers") == "critical"
    assert in_trouble(turns, "database.latency") == "unknown"
    assert in_trouble(turns, "trading.strategy_state:a.b:c") == "unknown"
    assert in_trouble(turns, "application.healthy:http://x.y:1") is None
    assert in_trouble(TROUBLES["dead-strategy"].turns, "trading.strategy_heartbeat:trend-coins") == "critical"


def test_make_has_both_targets() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"trouble", "heal"} <= set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
