"""Which worker has which tests, and in what order."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from tests import times

TESTS = Path(times.__file__).parent


def test_all_files_that_need_a_cluster_are_one_workers() -> None:
    files = (TESTS / "integration").glob("test_*.py")
    using = {path.name for path in files if "cluster_fixtures import" in path.read_text(encoding="utf-8")}
    assert using == {Path(name).name for name in times.CLUSTER}


def test_files_that_come_first_are_there() -> None:
    assert [name for name in times.LONG if not (TESTS / name).is_file()] == []
    assert len(set(times.LONG)) == len(times.LONG)


def test_the_cluster_and_then_long_files_come_first() -> None:
    names = ("unit/test_a.py", times.LONG[-1], times.CLUSTER[1], times.CLUSTER[0])
    items = [SimpleNamespace(nodeid=f"tests/{name}::test_it") for name in names]
    times.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == [f"tests/{name}::test_it" for name in reversed(names)]
