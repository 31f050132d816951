"""collected.json: what it does not know never passes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import (
    KINDS,
    OUTCOMES,
    Collected,
    decoded,
    encoded,
    parsed,
    safe_path,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import EvidenceError

GOOD: dict[str, Any] = {
    "version": 1,
    "host": "app1",
    "period": {"from": "2026-10-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"},
    "collector": {"name": "tradingflow.maintenance", "version": "0.1.0"},
    "sources": [
        {
            "name": "journal",
            "kind": "journal",
            "outcome": "complete",
            "reason": "",
            "files": [{"path": "journal/system.export.gz", "size": 12, "sha256": "a" * 64, "records": 3}],
            "command": ["journalctl", "--output=export"],
            "tool": {"name": "journalctl", "version": "252"},
            "exit_status": 0,
            "records": 3,
            "counts": [{"by": "entries parsed", "records": 3}, {"by": "journalctl's listing", "records": 3}],
            "gaps": [],
            "redactions": {"password": 2},
        },
        {
            "name": "orders.log",
            "kind": "log_file",
            "outcome": "partial",
            "reason": "The log begins late.",
            "files": [],
            "command": [],
            "tool": {"name": "python", "version": ""},
            "exit_status": None,
            "records": 0,
            "counts": [],
            "gaps": [{"from": "2026-10-01T00:00:00Z", "to": "2026-10-03T00:00:00Z", "reason": "begins late"}],
            "redactions": {},
        },
    ],
}


def test_it_comes_back_as_it_was() -> None:
    assert decoded(encoded(Collected.from_dict(GOOD))).to_dict() == GOOD


def _objects(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, dict):
        return [data, *(each for value in data.values() for each in _objects(value))]
    return [each for item in data for each in _objects(item)] if isinstance(data, list) else []


def test_a_name_too_many_or_too_few_anywhere_is_refused() -> None:
    count = 0
    for number, one in enumerate(_objects(GOOD)):
        if set(one) == {"password"} or not one:
            continue
        for name in one:
            bad = copy.deepcopy(GOOD)
            del _objects(bad)[number][name]
            with pytest.raises(EvidenceError, match="lacks"):
                Collected.from_dict(bad)
            count += 1
        bad = copy.deepcopy(GOOD)
        _objects(bad)[number]["another"] = 1
        with pytest.raises(EvidenceError, match="unknown"):
            Collected.from_dict(bad)
    assert count > 40


def test_a_value_of_another_type_anywhere_is_refused() -> None:
    def leaves(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if not isinstance(data, dict | list):
            return [path]
        items = data.items() if isinstance(data, dict) else enumerate(data)
        return [path, *(each for key, value in items for each in leaves(value, (*path, key)))]

    for path in leaves(GOOD)[1:]:
        wrong: tuple[Any, ...] = (1.5, True, {"a": -1}, [[]])
        for value in wrong:
            bad = copy.deepcopy(GOOD)
            place: Any = bad
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
            with pytest.raises(EvidenceError):
                Collected.from_dict(bad)


def _first(change: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["sources"][0].update(change)


@pytest.mark.parametrize(
    "change",
    [
        _first({"kind": "Journal"}),
        _first({"outcome": "ok"}),
        _first({"name": ".."}),
        _first({"name": "a/b"}),
        _first({"name": "orders.log"}),
        _first({"records": 4}),
        _first({"exit_status": 1}),
        _first({"reason": "something was skipped"}),
        _first({"gaps": GOOD["sources"][1]["gaps"]}),
        _first({"counts": GOOD["sources"][0]["counts"][:1]}),
        _first({"counts": [{"by": "one", "records": 3}, {"by": "one", "records": 3}]}),
        _first({"counts": [{"by": "one", "records": 3}, {"by": "two", "records": 2}]}),
        _first({"files": GOOD["sources"][0]["files"] * 2, "records": 6}),
        _first({"outcome": "failed"}),
        lambda data: data["period"].update({"to": "2026-10-01T00:00:00Z"}),
        lambda data: data["period"].update({"to": "2026-11-31T00:00:00Z"}),
        lambda data: data["period"].update({"to": "2026-11-01T00:00:00+00:00"}),
        lambda data: data.update({"version": 2}),
        lambda data: data.update({"host": "../app1"}),
    ],
)
def test_what_contradicts_itself_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    bad = copy.deepcopy(GOOD)
    change(bad)
    with pytest.raises(EvidenceError):
        Collected.from_dict(bad)


def test_json_that_says_something_twice_or_is_none_is_refused() -> None:
    text = json.dumps(GOOD)
    for bad in (text.replace('"version": 1', '"version": 1, "version": 1'), text[:-1], text.replace("12", "NaN"), "[]"):
        with pytest.raises(EvidenceError):
            decoded(bad.encode())


def test_paths() -> None:
    assert safe_path("journal/system.export.gz")
    for bad in ("", "/etc/passwd", "a//b", "a/../b", "./a", "a/", "a\\b", "a\nb", "-a", "é", None):
        assert not safe_path(bad)


def test_the_words_are_these() -> None:
    assert OUTCOMES == ("complete", "partial", "failed")
    assert len(KINDS) == 10
    assert parsed("2028-02-29T23:59:59Z").day == 29
