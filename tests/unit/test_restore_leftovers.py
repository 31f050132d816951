"""What a restore leaves in the server, however it ends: old rows are remembered first, and nobody gets rights by it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import (
    logins,
    proof,
    readers,
    server,
    snapshot,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import (
    abandon,
    findings,
    leftovers,
    live,
    replace,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.state import State
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import DatabaseError

OLD = "public_before_20261124t183059z_3fa9c1"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to a server with the databases "here" and "there", in order; "there" has old rows."""
    steps: list[str] = []

    @contextmanager
    def connected(database: dict[str, Any], **_: Any) -> Iterator[Any]:
        yield SimpleNamespace(name=database["name"])

    def clean(database: dict[str, Any], _place: str) -> tuple[list[str], list[str]]:
        steps.append(f"clean {database['name']}")
        return [], [OLD] if database["name"] == "there" else []

    def drop_roles(connection: Any, _prefix: str, *, owned: bool = False) -> None:
        if owned:
            raise DatabaseError(f"{connection.name} is full.", "Wait.")

    monkeypatch.setattr(leftovers, "connected", connected)
    monkeypatch.setattr(leftovers, "clean", clean)
    monkeypatch.setattr(
        leftovers, "finished", lambda database, names: steps.append(f"unmark {database['name']} {names}")
    )
    monkeypatch.setattr(leftovers, "drop_roles", drop_roles)
    monkeypatch.setattr(leftovers, "ours", lambda *_: ["tradingflow_restoring_x_t"])
    for name, does in {
        "elsewhere": lambda *_: nullcontext(SimpleNamespace(name="postgres")),
        "stale": lambda *_: [],
        "oid_of": lambda *_: 1,
        "run": lambda *_: None,
        "be_quiet": lambda *_: None,
    }.items():
        monkeypatch.setattr(server, name, does)
    keep = State.keep

    def kept(self: State, kind: str, name: str, *more: str) -> None:
        steps.append(f"keep {name}")
        keep(self, kind, name, *more)

    monkeypatch.setattr(State, "keep", kept)
    return steps


def test_old_rows_in_another_database_are_remembered_before_their_mark_goes(tmp_path: Path, done: list[str]) -> None:
    state = State(tmp_path / "state.json")
    state.begin(id="x", mode="tables", target="there", recovery_point="p", started_at="then")
    kept: list[dict[str, str]] = []
    text, warning = leftovers.remove({"name": "here"}, "here", "place", state, kept)
    assert done == ["clean here", "clean there", f"keep there: {OLD}", f"unmark there ['{OLD}']"]
    assert f"the old ones are in {OLD} of there" in text
    assert kept == [{"kind": "schema", "name": OLD}]
    (entry,) = State(tmp_path / "state.json").kept
    assert (entry["name"], entry["recovery_point"], entry["at"]) == (f"there: {OLD}", "p", "then")
    assert warning is not None
    assert (warning.id, warning.status) == ("restore.leftovers", "warning")
    assert "tradingflow_restoring_x_t" in warning.message


def test_a_database_that_cannot_be_cleaned_is_named(
    tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def clean(database: dict[str, Any], _place: str) -> Any:
        raise DatabaseError(f"{database['name']} is closed.", "Open it.")

    monkeypatch.setattr(leftovers, "clean", clean)
    monkeypatch.setattr(leftovers, "ours", lambda *_: [])
    state = State(tmp_path / "state.json")
    assert leftovers.remove({"name": "here"}, "here", "place", state, []) == ("", None)
    state.begin(id="x", mode="tables", target="there")
    text, warning = leftovers.remove({"name": "here"}, "here", "place", state, [])
    assert (text, done) == ("", [])
    assert warning is not None
    assert "there (there is closed.)" in warning.message


def test_replaced_rows_are_remembered_before_their_mark_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    run: Any = SimpleNamespace(
        target={"name": "here"},
        may_replace=lambda *_: None,
        may_count_on=lambda *_: {},
        superuser=lambda: nullcontext(None),
        finished=lambda _connection, names: steps.append(f"unmark {list(names)}"),
    )
    taken = SimpleNamespace(tables=lambda: [{"schema": "public", "name": "orders"}])
    monkeypatch.setattr(snapshot, "opened", lambda _: nullcontext(taken))
    monkeypatch.setattr(proof, "hashed", lambda _: {})
    monkeypatch.setattr(replace, "connected", lambda *_, **__: nullcontext(None))
    monkeypatch.setattr(server, "rows", lambda *_: [])
    monkeypatch.setattr(server, "run", lambda _connection, query: steps.append(query))
    monkeypatch.setattr(replace, "_all", lambda *_: steps.append("replaced"))
    id = "20261124T183059Z-3fa9c1"
    replace.replace(
        run, [("public", "orders")], lambda _: None, {"public": "beside"}, [], id, steps.append, lambda: None
    )
    assert steps == ["replaced", OLD, 'DROP SCHEMA "beside" CASCADE', f"unmark ['{OLD}']"]


class Server:
    """Answers what Logins.superuser asks.

    :param others: whether anything belongs to others than superusers
    """

    def __init__(self, *, others: bool) -> None:
        self.others = others
        self.ran: list[str] = []
        self.connection = SimpleNamespace(server_version=150000)

    def execute(self, query: str, *_: Any) -> None:
        self.ran.append(query)

    def fetchone(self) -> tuple[Any, ...]:
        return (self.others,) if self.ran[-1] == logins._OTHERS else (0,)

    def fetchall(self) -> list[tuple[str]]:
        return [("postgres",)]


@pytest.mark.parametrize(
    ("others", "owners", "trusted", "apart"),
    [
        (False, {"postgres"}, False, False),
        (False, {"postgres", "mallory"}, False, True),
        (True, {"postgres"}, False, True),
        (True, {"postgres", "mallory"}, True, False),
    ],
)
def test_who_comes_with_the_dump_counts(
    monkeypatch: pytest.MonkeyPatch, *, others: bool, owners: set[str], trusted: bool, apart: bool
) -> None:
    """The live database of superusers only, and a dump in which others own something."""
    monkeypatch.setattr(logins.Logins, "superuser", lambda _self: nullcontext(Server(others=others)))
    monkeypatch.setattr(logins.Logins, "make", lambda _self, role, *_: role)
    monkeypatch.setattr(logins.Logins, "login", lambda self, role: {**self.database, "user": role})
    with live.Live({"name": "here", "user": "postgres"}, "ours", "place", owners=owners, trusted=trusted) as found:
        assert found.apart is apart


@pytest.mark.parametrize("error", [DatabaseError("Gone.", "Wait."), ValueError("x"), KeyboardInterrupt()])
def test_a_reader_is_gone_whatever_ended_it(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    asked, dropped = Server(others=True), []
    monkeypatch.setattr(logins.Logins, "superuser", lambda _self: nullcontext(asked))
    monkeypatch.setattr(logins.Logins, "reader", lambda self, _role: self.database)
    monkeypatch.setattr(logins.Logins, "drop", lambda _self: dropped.append("role"))
    with pytest.raises(type(error)), readers.temporary({"name": "copy"}, "ours", beside=True):
        raise error
    assert dropped == ["role"]
    assert asked.ran[-1] == 'ALTER DATABASE "copy" CONNECTION LIMIT 0'


def dead(tmp_path: Path) -> State:
    state = State(tmp_path / "state.json")
    state.begin(id="dead", mode="tables", target="there", recovery_point="p", started_at="then")
    return state


def test_a_recovery_cleans_up_after_a_dead_logical_restore(
    tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "alone", lambda *_: nullcontext())
    job: Any = SimpleNamespace(place="place", kept=[], checks=[])
    options = {"database": {"name": "here"}, "cluster": {"elsewhere": False}}
    text = leftovers.before_recovery(options, job, dead(tmp_path), alive=True)
    assert f"the old ones are in {OLD}" in text
    assert "clean there" in done
    assert [check.id for check in job.checks] == ["restore.leftovers"]
    # Of other modes there is nothing in the server.
    state = State(tmp_path / "other.json")
    state.begin(id="x", mode="point_in_time", target="there")
    assert leftovers.before_recovery(options, job, state, alive=True) == ""


def test_after_a_recovery_each_database_that_cannot_be_cleaned_is_named(
    tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever restore was under way at the target: nothing here says into which."""

    def clean(database: dict[str, Any], _place: str) -> Any:
        raise DatabaseError(f"{database['name']} is closed.", "Open it.")

    monkeypatch.setattr(leftovers, "clean", clean)
    monkeypatch.setattr(leftovers, "ours", lambda *_: [])
    monkeypatch.setattr(server, "alone", lambda *_: nullcontext())
    monkeypatch.setattr(server, "rows", lambda *_: [("here",), ("there",)])
    state = State(tmp_path / "state.json")
    state.begin(id="x", mode="point_in_time", target="here")
    job: Any = SimpleNamespace(place="place", kept=[], checks=[], found=[])
    leftovers.after_recovery({"database": {"name": "here"}}, job, state)
    (check,) = job.checks
    assert (check.status, done) == ("warning", [])
    assert "here (here is closed.), there (there is closed.)" in check.message


def test_what_went_with_the_old_cluster_is_not_listed_as_kept(
    tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "data_before_1"
    old.mkdir()
    state = dead(tmp_path)
    for kind, name in (
        ("schema", f"there: {OLD}"),
        ("schema", "here: s_before_1"),
        ("schema", "dropped: s_before_2"),
        ("database", "here_before_2"),
        ("directory", str(old)),
    ):
        state.keep(kind, name, "p", "then")
    state.begin(id="x", mode="point_in_time", target="here", cluster={"kept": str(old)})
    directory = {"kind": "directory", "name": str(old)}
    job: Any = SimpleNamespace(kept=[{"kind": "schema", "name": OLD}, directory], found=[])

    def rows(connection: Any, _query: str, names: Any = ()) -> list[tuple[str]]:
        return [("s_before_1",)] if names == ("s_before_1",) else [] if names else [("here",), ("there",)]

    monkeypatch.setattr(server, "rows", rows)
    options: dict[str, Any] = {"database": {"name": "here"}, "cluster": {"elsewhere": True}}
    leftovers.gone_aside(options, job, state)
    assert (len(state.kept), job.found) == (5, [])
    options["cluster"]["elsewhere"] = False
    leftovers.gone_aside(options, job, state)
    assert [each["name"] for each in State(tmp_path / "state.json").kept] == ["here: s_before_1", str(old)]
    assert job.kept == [directory]
    (text,) = job.found
    assert f"in the old one, in {old}: schema there: {OLD}, schema dropped: s_before_2, database here_before_2." in text


@pytest.mark.parametrize(("alive", "elsewhere"), [(False, False), (True, True)])
def test_what_a_recovery_cannot_clean_is_named(tmp_path: Path, done: list[str], alive: bool, elsewhere: bool) -> None:
    job: Any = SimpleNamespace(place="local-0123456789ab", kept=[], checks=[])
    options = {"database": {"name": "here"}, "cluster": {"elsewhere": elsewhere}}
    assert leftovers.before_recovery(options, job, dead(tmp_path), alive=alive) == ""
    (check,) = job.checks
    assert (check.id, check.status, done) == ("restore.leftovers", "warning", [])
    assert "tradingflow_restoring_0123456789ab_" in check.message
    assert "schemas of there" in check.message


def test_giving_up_shows_what_could_not_be_removed(
    tmp_path: Path, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "alone", lambda *_: nullcontext())
    found: dict[str, Any] = {"kept": []}
    state = dead(tmp_path)
    abandon._database({"database": {"name": "here"}}, state, "id", "place", found)
    result = {"unfinished": state.run, "refusals": [], "steps": [], "server": None, "changed": True, **found}
    checks, (action,) = findings.abandoned(result, {}, "2026-11-24T18:30:59Z", planned=False)
    (left,) = [check for check in checks if check.id == "restore.leftovers"]
    assert left.status == "warning"
    assert "tradingflow_restoring_x_t" in left.message
    assert f"the old ones are in {OLD}" in action["message"]
    assert done
    # The tables had been replaced, and nothing put the old rows back.
    (check,) = [check for check in checks if check.id == "restore.abandoned"]
    assert check.status == "warning"
    assert "in place again" not in check.message + action["message"]
    assert OLD in check.remedy
    result["kept"] = []
    (check, *_), _ = findings.abandoned(result, {}, "2026-11-24T18:30:59Z", planned=False)
    assert (check.status, check.remedy) == ("ok", "")
    result["unfinished"] = {**state.run, "mode": "whole"}
    (check, *_), _ = findings.abandoned(result, {}, "2026-11-24T18:30:59Z", planned=False)
    assert "what was there before is in place again" in check.message
