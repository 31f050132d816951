"""What a dump wants of a server and its host is said before anything is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.toc import DATABASE_KINDS, Entry
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import archive, engine, needs
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted

from tests.integration import restore_fixtures
from tests.integration.restore_fixtures import World, bad, restored
from tests.integration.test_backup import connect, run_sql

place, world = restore_fixtures.place, restore_fixtures.world


def refused(world: World, name: str, **changes: Any) -> dict[str, str]:
    found = [each for each in engine.plan(world.options(**changes))["refusals"] if each["name"] == name]
    assert len(found) == 1
    return dict(found[0])


@pytest.fixture
def dumped(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The world, whose dump is as if it had been made elsewhere: definitions by kind, in which a word is another."""
    changed: dict[str, str] = {}
    real = archive.read

    def read(*arguments: Any) -> Any:
        contents = real(*arguments)
        kept = [each for each in contents.entries if each.kind != "COLLATION"]
        entries = [
            each._replace(definition=changed[each.kind])
            if each.kind in changed and each.kind in DATABASE_KINDS
            else each
            for each in kept
        ]
        for kind in sorted(set(changed) - set(DATABASE_KINDS)):
            entries.append(Entry(99999, kind, "public", changed[kind].split()[-1], "", 2, definition=changed[kind]))
        return contents._replace(entries=entries)

    monkeypatch.setattr(archive, "read", read)
    return changed


def test_extensions_that_are_not_installed(world: World, dumped: dict[str, str]) -> None:
    dumped["EXTENSION"] = "CREATE EXTENSION IF NOT EXISTS timescaledb"
    for mode in ({}, {"mode": "tables", "tables": ["public.orders"]}):
        refusal = refused(world, "extensions", **mode)
        assert "timescaledb" in refusal["message"]
        assert "Install" in refusal["remedy"]
    checks, _, _ = restored(world.options())
    assert "timescaledb" in checks["restore.refused:extensions"].message
    assert world.databases() == [world.name]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("LOCALE_PROVIDER = libc LOCALE = 'xx_XX.UTF-8'", "xx_XX.UTF-8"),
        ("LC_COLLATE = 'C' LC_CTYPE = 'yy_YY.UTF-8'", "yy_YY.UTF-8"),
        ("LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'zz-nowhere-@@'", "ICU zz-nowhere-@@"),
    ],
)
def test_locales_that_are_not_there(world: World, dumped: dict[str, str], options: str, said: str) -> None:
    name = quoted(world.name)
    dumped["DATABASE"] = f"CREATE DATABASE {name} WITH TEMPLATE = template0 ENCODING = 'UTF8' {options};"
    assert said in refused(world, "locales")["message"]
    assert world.databases() == [world.name]


def test_collations_that_are_not_there_and_those_that_are(world: World, dumped: dict[str, str]) -> None:
    dumped["COLLATION"] = "CREATE COLLATION public.german (provider = libc, locale = 'de_XX.100%');"
    assert "collation" in refused(world, "locales")["message"]
    dumped["COLLATION"] = "CREATE COLLATION public.german (provider = libc, locale = 'C');"
    assert engine.plan(world.options())["refusals"] == []
    assert world.value("SELECT count(*) FROM pg_collation WHERE collname = 'looked_for'", "postgres") == 0
    connection = connect(world.admin)
    # An encoding that is not this database's says nothing of the locale.
    assert needs._refused(connection, "(provider = libc, locale = 'POSIX')") is None
    connection.close()


def test_tables_of_a_type_that_is_gone(world: World) -> None:
    run_sql(
        world.database,
        "CREATE TYPE side AS ENUM ('buy', 'sell'); CREATE DOMAIN lots AS int; CREATE TABLE fills (s side[], n lots);"
        "INSERT INTO fills VALUES ('{buy}', 1)",
    )
    world.back_up()
    run_sql(world.database, "DROP TABLE fills; DROP TYPE side; DROP DOMAIN lots")
    _, result, _ = restored(world.options(mode="tables", tables=["public.fills"], confirm=None))
    assert "types that" in result["problem"]["message"]
    assert "public.lots, public.side" in result["problem"]["message"]
    assert "CREATE TYPE" in result["problem"]["remedy"]
    assert world.databases() == [world.name]
    run_sql(world.database, "CREATE TYPE side AS ENUM ('buy', 'sell'); CREATE DOMAIN lots AS int")
    checks, _, _ = restored(world.options(mode="tables", tables=["public.fills"], confirm=None))
    assert bad(checks) == {}
    assert json.loads(world.value("SELECT json_agg(nspname)::text FROM pg_namespace WHERE nspname LIKE 'restored%'"))
