"""Literals that have somebody else's domain evaluated by whoever makes a view, default or index of them."""

from __future__ import annotations

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.literals import evaluated
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.toc import Contents, Entry

CHECKED = "CREATE DOMAIN mallory.amount AS integer\n\tCONSTRAINT c CHECK ((lo_from_bytea(0, ''::bytea) IS NOT NULL));\n"


def entry(number: int, kind: str, name: str, definition: str, *needs: int, owner: str = "mallory") -> Entry:
    return Entry(number, kind, "mallory", name, owner, definition=definition, needs=needs)


def found(*more: Entry, domain: str = CHECKED, owner: str = "mallory") -> list[str]:
    entries = [
        entry(1, "DOMAIN", "amount", domain, owner=owner),
        entry(2, "TYPE", "pair", "CREATE TYPE mallory.pair AS (a mallory.amount[], b text);\n", 1),
        entry(
            3, "TYPE", "span", 'CREATE TYPE mallory.span AS RANGE (\n    multirange_type_name = mallory."s ""m"\n)', 1
        ),
        entry(4, "DOMAIN", "many", "CREATE DOMAIN mallory.many AS mallory.amount[];\n", 1),
        entry(5, "TABLE", "Rows", "CREATE TABLE mallory.\"Rows\" (p mallory.pair DEFAULT '(1,2)'::text);\n", 2),
        entry(6, "TYPE", "mood", "CREATE TYPE mallory.mood AS ENUM ('sad');\n"),
    ]
    return evaluated(Contents("d", "18", "18", True, [*entries, *more]), {"mallory"})


@pytest.mark.parametrize(
    "literal",
    [
        "'{1}'::mallory.amount[]",
        "'{{1}}'::mallory.amount[][]",
        "'({1},x)'::mallory.pair",
        "'[1,2]'::mallory.span",
        '\'{[1,2]}\'::mallory."s ""m"',
        "'{1}'::mallory.many",
        '\'("({1},x)")\'::mallory."Rows"',
        "'x''{}'::mallory.amount[]",
        "ARRAY['it''s'::text, \"a'b\".c, ('{1}'::mallory.amount[])::text]",
    ],
)
def test_literals_that_are_evaluated(literal: str) -> None:
    view = entry(9, "VIEW", "shown", f"CREATE VIEW mallory.shown AS\n SELECT {literal} AS x;\n", 1, owner="postgres")
    assert found(view) == ["VIEW mallory.shown"]
    assert found(view, owner="postgres") == []
    assert found(view, domain="CREATE DOMAIN mallory.amount AS integer;\n") == []
    late = entry(8, "CHECK CONSTRAINT", "amount c", "ALTER DOMAIN mallory.amount ADD CONSTRAINT c CHECK ((true));\n", 1)
    assert found(view, late, domain="CREATE DOMAIN mallory.amount AS integer;\n") == ["VIEW mallory.shown"]


@pytest.mark.parametrize(
    "literal",
    ["'1'::mallory.amount", "'{}'::mallory.amount[]", "'{sad}'::mallory.mood[]", "'{1}'::integer[]", "'1'::other.pair"],
)
def test_literals_that_are_not(literal: str) -> None:
    assert found(entry(9, "DEFAULT", "t x", f"ALTER TABLE mallory.t ALTER x SET DEFAULT {literal};\n", 1)) == []


def test_bodies_of_functions_are_not_parsed_their_arguments_are() -> None:
    head, literal = "CREATE FUNCTION mallory.f(", "'{1}'::mallory.amount[]"
    body = f"a text) RETURNS text\n    LANGUAGE plpgsql\n    AS $_$ SELECT {literal} $_$;\n"
    assert found(entry(9, "FUNCTION", "f(text)", head + body)) == []
    assert found(entry(9, "FUNCTION", "f(text)", f"{head}b text DEFAULT {literal}, {body}")) != []
    hidden = f"b text DEFAULT ' AS $_$ ', c text DEFAULT {literal}, {body}"
    assert found(entry(9, "FUNCTION", "f(text)", head + hidden)) != []
    atomic = f"{head}) RETURNS text\n    LANGUAGE sql\n    BEGIN ATOMIC\n SELECT {literal};\nEND;\n"
    assert found(entry(9, "FUNCTION", "f()", atomic)) != []
