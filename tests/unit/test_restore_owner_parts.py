"""Entries of single tables by owner, and trees of partitions as a dump has them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import server
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.toc import (
    DATA,
    POST_DATA,
    PRE_DATA,
    Contents,
    Entry,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import owners, replace, trees, turns
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.trees import Trees
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import RestoreError


def entry(number: int, kind: str, name: str, owner: str, *needs: int, definition: str = "") -> Entry:
    section = {"TABLE DATA": DATA, "INDEX": POST_DATA, "COMMENT": 1}.get(kind, PRE_DATA)
    return Entry(number, kind, "s", name, owner, section, definition=definition, needs=needs)


def test_each_part_comes_after_what_it_needs_and_rows_before_indexes() -> None:
    """Also where one owner's table has a column of another's row type, and the other way round."""
    entries = [
        entry(1, "TABLE", "a", "alice"),
        entry(2, "TABLE", "b", "bob", 1),
        entry(3, "TABLE", "c", "alice", 2),
        entry(4, "SEQUENCE", "a_seq", "alice", 1),
        entry(5, "DEFAULT", "b i", "bob", 2, 4),
        entry(6, "COMMENT", "INDEX b_i", "bob", 9),
        entry(7, "TABLE DATA", "a", "alice", 1),
        entry(8, "TABLE DATA", "b", "bob", 2),
        entry(9, "INDEX", "b_i", "bob", 1, 2),
        entry(10, "INDEX", "a_i", "alice", 1),
    ]
    alice, bob = frozenset({"alice"}), frozenset({"bob"})
    found = owners.by_owners(entries, {("s", "a"): alice, ("s", "b"): bob, ("s", "c"): alice})
    assert [(whose, [each.number for each in part]) for whose, part in found] == [
        (alice, [1, 4]),
        (bob, [2, 5]),
        (alice, [3]),
        (alice, [7]),
        (bob, [8]),
        (bob, [9]),
        (alice, [10]),
        (bob, [6]),
    ]


def test_trees_have_one_top() -> None:
    found = owners._trees([1, 2, 3, 4, 5], [(2, 1), (3, 2), (3, 4), (9, 8)])
    assert len({found[oid] for oid in (1, 2, 3, 4)}) == 1
    assert found[5] == 5


def test_trees_of_a_dump() -> None:
    """As each version of pg_dump writes them; the type of a column is no parent."""
    entries = [
        entry(1, "TABLE", "top", "a"),
        entry(2, "TABLE", "new", "a"),
        entry(3, "TABLE ATTACH", "new", "a", 1, 2),
        entry(
            4,
            "TABLE",
            "old",
            "a",
            1,
            definition="ALTER TABLE ONLY s.top ATTACH PARTITION s.old",
        ),
        entry(5, "TABLE", 'h"r', "a", 4, 6, definition='CREATE TABLE s."h""r" (x s.typed) INHERITS (s.old);'),
        entry(6, "TABLE", "typed", "a"),
        entry(7, "TABLE", "column", "a", 6, definition="CREATE TABLE s.column (x s.typed);"),
    ]
    contents = Contents("d", "18", "18", True, entries)
    assert {name for _schema, name in Trees(contents, ["s.top"], []).names} == {"top", "new", "old", 'h"r'}
    assert {name for _schema, name in Trees(contents, ["s.typed"], []).names} == {"typed"}
    assert len(Trees(contents, [], ["s"]).names) == 6


def test_a_row_that_was_moved_to_a_sibling_meanwhile_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other partition was empty when the restore was asked for."""
    entries = [
        entry(1, "TABLE", "top", "a"),
        entry(2, "TABLE", "p1", "a"),
        entry(3, "TABLE ATTACH", "p1", "a", 1, 2),
    ]
    filled: list[tuple[str, str]] = []
    answers = {
        trees._THERE: [(1, "s", "top"), (2, "s", "p1"), (3, "s", "p2")],
        trees._TREES: [(2, 1), (3, 1)],
        trees._FILLED: filled,
    }
    monkeypatch.setattr(server, "rows", lambda _connection, query, *_: answers[query])
    found = Trees(Contents("d", "18", "18", True, entries), ["s.p1"], [])
    found.check(None, [])
    filled.append(("s", "p2"))
    with pytest.raises(RestoreError, match=r"not s\.p2\..*Nothing was replaced"):
        found.check(None, [])
    found.check(None, ["siblings"])


def test_nobody_sees_what_an_owner_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each look at the catalogue, and before an owner's next turn after it."""
    ran: list[str] = []
    monkeypatch.setattr(server, "run", lambda _connection, query: ran.append(query))
    taken = turns.Turns("schema", "hands")
    alice = frozenset({"alice"})
    taken._ways[alice] = "function", "key"
    connection: Any = SimpleNamespace(server_version=180000)
    taken.take(connection, alice)
    taken.take(connection, alice)
    assert ran == [*turns._FRESH]
    assert taken.nobody(connection) is connection
    assert ran == [*turns._FRESH] * 2
    taken.take(connection, alice)
    assert ran == [*turns._FRESH] * 3
    # Temporary tables would come first where they are not named.
    assert "search_path = pg_catalog, pg_temp" in turns._FRESH[-1]


def test_triggers_at_the_commit_are_refused_where_code_of_several_owners_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when only a foreign key leads to another owner's table, which is looked at in the same session."""
    waiting = [("late", "s.a")]
    keys = [("key", "s.a", "s.b", ["b"], ["id"], False, True)]
    found: dict[str, list[Any]] = {replace._LATE: waiting, replace._KEYS: keys, owners._TREES: []}
    tables = {"s.a": "alice", "s.b": "bob", "s.c": "carol"}

    def rows(_connection: object, query: str, *_: object) -> list[Any]:
        if query == owners._TABLES:
            whose = enumerate(tables.items())
            return [(n, "s", shown[2:], shown, owner, False, False) for n, (shown, owner) in whose]
        return found.get(query, [("root",), ("admin",)])

    monkeypatch.setattr(server, "rows", rows)
    (refusal,) = replace.late(None, [("s", "a")])
    assert (refusal.word, "late of s.a" in refusal.message) == ("source_functions", True)
    tables.update({"s.a": "root", "s.b": "admin"})
    assert replace.late(None, [("s", "a")]) == []
    tables["s.b"] = "bob"
    assert len(replace.late(None, [("s", "a")])) == 1
    keys.clear()
    assert replace.late(None, [("s", "a")]) == []
    assert len(replace.late(None, [("s", "a"), ("s", "c")])) == 1
    waiting.clear()
    assert replace.late(None, [("s", "a"), ("s", "c")]) == []
