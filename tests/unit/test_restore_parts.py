"""What a restore computes by itself: names, statements about databases and roles, targets, directories, forecasts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import refusal
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import server, toc
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import (
    archive,
    directories,
    findings,
    forecast,
    guards,
    loss,
    options,
    target,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.state import State
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, RestoreError

ID = "20261124T183059Z-3fa9c1"
NOW = datetime(2026, 11, 24, 19, tzinfo=UTC)


def test_names_that_are_kept_fit_and_are_known_again() -> None:
    for name in ("tradingflow", "ü" * 40, "a" * 63, 'it\'s "odd"', "line\nfeed"):
        kept = server.kept_name(name, ID)
        assert len(kept.encode()) <= 63
        assert kept.endswith("_before_20261124t183059z_3fa9c1")
        assert server.KEPT.fullmatch(kept)
    assert not server.KEPT.fullmatch("tradingflow")
    assert not server.KEPT.fullmatch("_before_20261124t183059z_3fa9c1")
    assert len(server.temporary_name("production-0123456789ab", ID).encode()) <= 63


def test_entries_are_chosen_by_what_they_are() -> None:
    pre, data, post = toc.PRE_DATA, toc.DATA, toc.POST_DATA
    entries = [
        toc.Entry(1, "DATABASE", "", "x", "me", pre),
        toc.Entry(2, "ACL", "", "DATABASE x", "me", needs=(1,)),
        toc.Entry(3, "SCHEMA", "", "public", "me", pre),
        toc.Entry(4, "TABLE", "public", "orders", "me", pre),
        toc.Entry(5, "TABLE", "DATA", "public orders", "me", pre),
        toc.Entry(6, "ACL", "public", "TABLE orders", "me", needs=(4,)),
        toc.Entry(7, "ACL", "public", "COLUMN orders.id", "me", needs=(4, 6)),
        toc.Entry(8, "COMMENT", "public", "INDEX i", "me", needs=(13,)),
        toc.Entry(9, "COMMENT", "public", "TRIGGER t ON orders", "me", needs=(15,)),
        toc.Entry(10, "ACL", "", "LARGE OBJECT 7", "me", needs=(17,)),
        toc.Entry(11, "TABLE DATA", "public", "orders", "me", data),
        toc.Entry(12, "TABLE DATA", "public", "orders2", "me", data),
        toc.Entry(13, "INDEX", "public", "i", "me", post),
        toc.Entry(14, "CHECK CONSTRAINT", "public", "orders c", "me", post),
        toc.Entry(15, "TRIGGER", "public", "orders t", "me", post),
        toc.Entry(16, "FK CONSTRAINT", "public", "orders fk", "me", post),
        toc.Entry(17, "BLOB", "", "7", "me", data),
        toc.Entry(18, "EVENT TRIGGER", "", "e", "me", post),
        toc.Entry(19, "SEQUENCE SET", "public", "orders_id_seq", "me", data),
        toc.Entry(20, "SOMETHING NEW", "public", "n", "me", post),
    ]
    contents = toc.Contents("x", "18", "18.6", True, entries)
    assert [entry.number for entry in archive.without_rows(contents)] == [3, 4, 5, 6, 7]
    assert [entry.number for entry in archive.rows_of(contents, [("public", "orders")])] == [11, 19, 13, 14, 8]
    assert archive.data_file(f"backups/local/{ID}/database/2848.dat.gz") == 2848
    assert archive.data_file(f"backups/local/{ID}/database/toc.dat") == -1


def test_rows_that_are_loaded_through_another_table() -> None:
    copies = ["COPY public.a (id) FROM stdin;\n", 'COPY "o d"."ro.o""t" (id, "x;") FROM stdin;\n', ""]
    entries = [
        toc.Entry(number, "TABLE DATA", "public", name, "me", toc.DATA, copy=copy)
        for number, (name, copy) in enumerate(zip("abc", copies, strict=True), 1)
    ]
    contents = toc.Contents("x", "18", "18.6", True, entries)
    asked = [("public", name) for name in "abc"]
    assert archive.moved(contents, asked) == [(("public", "b"), ("o d", 'ro.o"t'))]
    assert archive.moved(contents, asked[:1]) == []
    with pytest.raises(RestoreError, match="not understood"):
        archive.moved(contents._replace(entries=[entries[0]._replace(copy="SELECT evil.x();")]), asked)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-24T18:30:00Z", datetime(2026, 11, 24, 18, 30, tzinfo=UTC)),
        ("2026-11-24 19:30:00+01:00", datetime(2026, 11, 24, 18, 30, tzinfo=UTC)),
        ("2026-11-24 19:30:00.25+01", datetime(2026, 11, 24, 18, 30, 0, 250000, tzinfo=UTC)),
        ("2026-11-24T13:30:00.000001-0500", datetime(2026, 11, 24, 18, 30, 0, 1, tzinfo=UTC)),
    ],
)
def test_times_have_a_zone(text: str, at: datetime) -> None:
    found = target.target_of({"target_type": "time", "target": text})
    assert found.at == at
    assert found.arguments()[:2] == ["--type=time", f"--target={at:%Y-%m-%d %H:%M:%S.%f}+00"]


@pytest.mark.parametrize("text", ["2026-11-24", "2026-11-24T18:30:00", "2026-13-24T18:30:00Z", "yesterday", ""])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError):
        target.target_of({"target_type": "time", "target": text})


def test_a_backup_fits_when_it_ended_before_the_target() -> None:
    backup = SimpleNamespace(stopped_at=datetime(2026, 11, 24, 18, 30, tzinfo=UTC), lsn_stop="1/10")
    point = {"engine": {"restore_point": "tradingflow_x"}}

    def fits(kind: str, value: str) -> bool:
        return target.target_of({"target_type": kind, "target": value}).fits(backup, point)

    # Its end is known to the second only.
    assert [fits("time", f"2026-11-24T18:30:0{n}Z") for n in (0, 1)] == [False, True]
    assert [fits("lsn", lsn) for lsn in ("1/F", "1/10", "2/0")] == [False, True, True]
    assert [fits("name", name) for name in ("tradingflow_x", "tradingflow_y", "before release")] == [True, False, True]
    assert fits("latest", "")


def moving(folder: Path) -> dict[str, Any]:
    names = {name: str(folder / name) for name in ("new", "place", "kept")}
    return {**names, "inode": (folder / "new").stat().st_ino, "there": True}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "is").write_text(name)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in folder.glob("*/is")}


def test_directories_are_settled_wherever_it_was_killed(two: Path) -> None:
    said = moving(two)
    assert directories.settle(said) == ""
    assert contents(two) == {"place": "place"}


def test_exchanged_and_not_yet_put_aside(two: Path) -> None:
    said = moving(two)
    assert directories._swapped(two / "new", two / "place")
    assert directories.settle(said) == "in place"
    assert contents(two) == {"place": "new", "kept": "place"}
    assert directories.settle(said) == "in place"


def test_put_aside_and_nothing_in_place(two: Path) -> None:
    said = moving(two)
    (two / "place").rename(two / "kept")
    assert directories.settle(said) == ""
    assert contents(two) == {"place": "place"}


def test_exchanged_and_the_new_one_taken_away_by_hand(two: Path) -> None:
    said = moving(two)
    assert directories._swapped(two / "new", two / "place")
    (two / "place").rename(two / "elsewhere")
    assert directories.settle(said) == ""
    assert contents(two) == {"elsewhere": "new", "kept": "place"}


def test_exchange(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(two / "state.json")
    state.begin(id="x")
    assert directories.exchange(state, "files", two / "new", str(two / "place"), two / "kept") == two / "kept"
    assert contents(two) == {"place": "new", "kept": "place"}
    assert State(two / "state.json").run["files"]["place"] == str(two / "place")


def test_what_is_on_its_way_into_place_is_never_removed(tmp_path: Path) -> None:
    """After the exchange it is the old data that lie under the name of what was in the making."""
    for name in (".a.restoring_x", ".b.restoring_x", "c"):
        (tmp_path / name).mkdir()
    made = {"making": str(tmp_path / ".a.restoring_x"), "making_cluster": str(tmp_path / ".b.restoring_x")}
    directories.remove_made({**made, "cluster": {"new": made["making_cluster"]}})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.restoring_x", "c"]
    directories.remove_made({"making": str(tmp_path / "c"), "making_cluster": made["making_cluster"]})
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_exchange_that_is_not_possible_moves_nothing(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(two / "state.json")
    state.begin(id="x")
    (two / "kept").mkdir()
    (two / "kept" / "is").write_text("kept")
    monkeypatch.setattr(directories, "_swapped", lambda *_: False)
    with pytest.raises(RestoreError, match="could not be put aside"):
        directories.exchange(state, "files", two / "new", str(two / "place"), two / "kept")
    assert contents(two) == {"place": "place", "new": "new", "kept": "kept"}
    assert not state.run["files"]


def test_forecast_goes_by_the_size(tmp_path: Path) -> None:
    drill = {
        "engine": "logical",
        "recovery_point": "other",
        "database_bytes": 100,
        "phases": {"fetch": 1, "restore": 2, "start": 9},
    }
    point = {"id": ID, "engine": "logical", "database_bytes": 1000}
    assert forecast.of_drill(drill, point) == {"seconds": 30.0, "drill": "other"}
    assert forecast.of_drill({**drill, "recovery_point": ID}, point) == {"seconds": 3.0, "drill": ID}
    assert forecast.of_drill({**drill, "database_bytes": None}, point) is None
    assert forecast.of_drill(drill, {**point, "engine": "pgbackrest"}) is None
    assert forecast.of_drill({}, point) is None


def test_loss_is_between_two_signs_of_life() -> None:
    back = datetime(2026, 11, 24, 18, tzinfo=UTC)
    assert loss.between(NOW, back, "x")["seconds"] == 3600
    assert loss.between(back, NOW, "x")["seconds"] == 0
    assert loss.between(None, back, "x")["measured_until"] == "now"


def test_overriding_wants_the_word_and_a_reason() -> None:
    refusals = [refusal.Refusal("a", "A.", "Do."), refusal.Refusal("b", "B.", "Do.", "other_cluster")]
    given = {"overrides": ["other_cluster"], "reason": "a new server"}
    guards.check_words(given)
    assert [[each.name for each in some] for some in guards.standing(refusals, given)] == [["a"], ["b"]]
    assert [each.name for each in guards.standing(refusals, {"overrides": []})[0]] == ["a", "b"]
    for reason in (None, "", "  "):
        with pytest.raises(ConfigurationError, match="needs a reason"):
            guards.check_words({**given, "reason": reason})


def test_every_override_is_documented() -> None:
    assert options.SPEC["overrides"]["choices"] == list(options.OVERRIDES)
    assert options.parts_of({"parts": [], "mode": "whole"}) == ["database", "files"]
    assert options.parts_of({"parts": [], "mode": "point_in_time"}) == ["database"]
    assert options.parts_of({"parts": ["files"], "mode": "point_in_time"}) == ["files"]


def test_what_was_not_begun_is_never_ok() -> None:
    for kind in ("RestoreError", "StorageError", "unexpected"):
        (check,), (action,) = findings.failure("Something.", "Do.", kind, "2026-11-24T00:00:00Z")
        assert check.status in ("critical", "unknown")
        assert action["status"] == "failed"


def test_state_outlives_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = State(path)
    state.begin(id="x")
    state.keep("database", "a_before", ID, "now")
    state.keep("database", "a_before", ID, "now")
    assert path.stat().st_mode & 0o777 == 0o600
    again = State(path)
    assert (again.run, len(again.kept)) == ({"id": "x"}, 1)
    again.end()
    assert (State(path).run, len(State(path).kept)) == ({}, 1)
    path.write_text("[]")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        State(path)
