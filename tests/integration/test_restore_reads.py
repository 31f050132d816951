"""Who reads and who makes where the usual ways are not there: an old server, and literals of others' domains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine as drill
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import logins
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import engine as restore
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted

from tests.integration import drill_fixtures, restore_fixtures
from tests.integration.drill_fixtures import statuses
from tests.integration.restore_fixtures import World, bad, restored
from tests.integration.test_backup import Make, run_sql
from tests.integration.test_restore_unprivileged import Mallory
from tests.integration.watched import Watched

world = restore_fixtures.world
place, drill_options = drill_fixtures.place, drill_fixtures.drill_options


@pytest.fixture
def mallory(world: World) -> Iterator[Mallory]:
    made = Mallory(world)
    world.back_up()
    made.forget()
    yield made
    made.clean()


def test_where_no_role_reads_everything(
    world: World, mallory: Mallory, drill_options: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before PostgreSQL 14."""
    monkeypatch.setattr(logins, "READS_ALL", 990000)
    looked: list[str] = []
    login = logins.Logins.login

    def noted(self: Any, role: str) -> dict[str, Any]:
        looked.append(role)
        return login(self, role)

    monkeypatch.setattr(logins.Logins, "login", noted)
    world.spoil()
    checks, _, _ = restored(world.options(reader=mallory.reader))
    assert mallory.planted() == []
    assert bad(checks) == {}
    world.whole()
    assert any(role.endswith("_r") for role in looked)
    chosen = drill_options(world.backup, pg_bin_dir=world.platform.state["postgres"]["bin_dir"])
    result = drill.run(chosen, Watched())
    assert mallory.planted() == []
    assert (result["problem"], statuses(result, chosen)) == (None, {"drill.rpo": "critical"})


def test_literals_of_domains_of_others_are_refused_by_the_plan(world: World, drill_options: Make) -> None:
    role = quoted(f"{world.mark} owner")
    run_sql(world.admin, f"CREATE ROLE {role}")
    try:
        run_sql(
            world.database,
            "CREATE DOMAIN amount AS int CHECK (VALUE > 0); CREATE VIEW amounts AS SELECT '{1}'::amount[] AS a;"
            f"ALTER DOMAIN amount OWNER TO {role}",
        )
        world.back_up()
        for mode in ({}, {"mode": "tables", "tables": ["public.accounts"]}):
            (refusal,) = restore.plan(world.options(**mode))["refusals"]
            assert (refusal["name"], refusal["word"]) == ("literals", "source_functions")
            assert "VIEW public.amounts" in refusal["message"]
            _, result, _ = restored(world.options(**mode))
            assert [each["name"] for each in result["refusals"]] == ["literals"]
        chosen = drill_options(world.backup, pg_bin_dir=world.platform.state["postgres"]["bin_dir"])
        problem = drill.run(chosen, Watched())["problem"]
        assert "VIEW public.amounts" in problem["message"]
        assert "restore_overrides" not in problem["remedy"]
        checks, _, _ = restored(world.options(overrides=["source_functions"], reason="we know them"))
        assert sorted(bad(checks)) == ["restore.overridden:literals", "restore.source_functions"]
    finally:
        for name in world.databases():
            run_sql({**world.admin, "name": name}, f"DROP OWNED BY {role} CASCADE")
        run_sql(world.admin, f"DROP OWNED BY {role}; DROP ROLE {role}")
