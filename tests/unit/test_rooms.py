"""The rooms of module_utils: each stands above what it imports, and no trade knows another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import COLLECTION

HOUSE = COLLECTION / "plugins/module_utils"
#: From the ground up; what is in a line does not import one another.
FLOORS: list[set[str]] = [
    {"masking"},
    {"errors", "_storage_retry"},
    {"words", "checks", "refusal", "run"},
    {"database", "storage"},
    {"_http", "_logs", "_work"},
    {"_advisories", "_isolation", "_kubernetes", "_ledger", "_registry", "_storage"},
    {"_helm", "_pgbackrest", "_files", "ledger", "lock"},
    {"_postgres", "lock_keeper"},
    {"_recovery_points"},
    {"_wal"},
    {"_checks"},
    {"_gates", "_performance"},
]
#: One room for each trade: whoever enters comes from a plugin.
ROOF = {
    "_audit",
    "_backup",
    "_compliance",
    "_data_update",
    "_dependencies",
    "_drill",
    "_housekeeping",
    "_images",
    "_migration",
    "_monitoring",
    "_patching",
    "_refresh",
    "_release",
    "_responses",
    "_restore",
    "_retention",
    "_review",
    "_stakeholders",
    "_tuning",
    "_validation",
}


def rooms() -> set[str]:
    return {path.stem for path in HOUSE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The rooms that a file imports, its own left out."""
    package = list(path.relative_to(HOUSE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        above = len(package) - node.level + 1
        assert above >= 0, f"{path} imports what is no room"
        names = [*package[:above], *(node.module or "").split(".")] if node.module else package[:above]
        for name in [names[0]] if names else [alias.name for alias in node.names]:
            if name != room_of(path):
                yield name


def arrows() -> set[tuple[str, str]]:
    """(room, what it imports) of all files."""
    return {(room_of(path), name) for path in sorted(HOUSE.rglob("*.py")) for name in imported(path)}


def wrong(found: set[tuple[str, str]]) -> list[str]:
    floor = {room: number for number, rooms in enumerate([*FLOORS, ROOF]) for room in rooms}
    return sorted(f"{one} imports {other}" for one, other in found if floor[one] <= floor[other])


def test_every_room_has_a_floor() -> None:
    assert set.union(*FLOORS, ROOF) == rooms()
    assert sum(map(len, [*FLOORS, ROOF])) == len(rooms())


def test_no_arrow_goes_up_and_no_trade_knows_another() -> None:
    found = arrows()
    assert len(found) > 50
    assert wrong(found) == []


@pytest.mark.parametrize("arrow", [("_work", "_files"), ("_restore", "_drill"), ("_files", "_postgres")])
def test_it_would_be_seen(arrow: tuple[str, str]) -> None:
    assert wrong({arrow}) == [f"{arrow[0]} imports {arrow[1]}"]


def test_no_shared_file_is_long() -> None:
    shared = [path for path in HOUSE.rglob("*.py") if room_of(path) not in ROOF]
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in shared}
    assert {path.name: count for path, count in lines.items() if count > 400} == {}
