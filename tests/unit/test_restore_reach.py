"""What of a target is in the archive, what a server that still runs can add, and which clock says what is now."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest.timelines import Timeline
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import server
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import reach, source
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.source import Prepared, Source
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.target import Target, target_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.timeline import Choice
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, RestoreError

from tests.unit.test_restore_timeline import TEN, at, tree

BACKUP = SimpleNamespace(system_identifier="7")
#: To 10:40; what is in use left it at 10:30 and is archived to 11:10.
LINES = (
    Timeline(1, newest="000000010000000000000009", ends=at(40)),
    Timeline(2, 1, 0x7000000, newest="000000020000000000000008", begins=at(52), ends=at(70)),
)
LATEST = Target("latest", "")


def time(minutes: float) -> Target:
    return Target("time", "", at(minutes))


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_restore_timeline.Tree.size", lambda _self: 1 << 24)


def old(**changes: Any) -> Source:
    """The old server, on timeline 2, at 11:30."""
    facts = {"recovering": False, "system_identifier": "7", "data_directory": "/x"}
    made = Source(facts, at(90), lsn="0/8000200", timeline=2, archives=True)
    for name, value in changes.items():
        if name in facts:
            facts[name] = value
        else:
            setattr(made, name, value)
    return made


def of(target: Target, server: Source | None, number: int = 2, **more: Any) -> reach.Reach:
    choice = Choice(number, tree(*LINES), 2)
    return reach.of(target, choice, BACKUP, server, "" if server else "No route.", **{"own": False, **more})


@pytest.mark.parametrize(
    ("target", "number", "archived"),
    [
        (time(69), 2, True),
        (time(70), 2, False),  # the newest transaction itself does not show that there is none of the same moment
        (time(80), 2, False),
        (time(20), 2, True),  # on the way there, before timeline 2 began
        (time(39), 1, True),
        (time(41), 1, False),
        (Target("lsn", "0/8000000"), 2, True),
        (Target("lsn", "0/9000000"), 2, False),
        (Target("lsn", "0/6000000"), 2, True),
        (LATEST, 2, False),
        (Target("name", "x"), 2, None),
    ],
)
def test_what_is_archived(target: Target, number: int, archived: bool | None) -> None:
    assert of(target, None, number).archived is archived


def test_restore_point_of_the_recovery_point_was_archived_with_it() -> None:
    assert of(Target("name", "x"), None, own=True).archived is True


def test_server_that_runs_adds_the_rest() -> None:
    found = of(time(80), old())
    assert (found.adds, found.refusals()) == (True, [])
    (check,) = found.checks()
    assert check.status == "ok"
    assert "reaches to 2026-11-24T11:10:00.000Z now" in check.message
    assert "archive the rest" in check.message
    (check,) = of(time(80), old(failing="000000020000000000000009")).checks()
    assert (check.status, "000000020000000000000009" in str(check.message)) == ("warning", True)
    # What is there already is not waited for.
    assert not of(time(60), old()).adds
    assert of(LATEST, old()).adds
    assert of(Target("name", "x"), old()).adds


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (None, "does not answer (No route)"),
        (old(recovering=True), "is a standby"),
        (old(system_identifier="8"), "is another cluster"),
        (old(timeline=3), "is on timeline 3"),
        (old(archives=False), "archive_mode is off"),
    ],
)
def test_what_nobody_can_archive_is_refused(server: Source | None, said: str) -> None:
    """With the newest moment that can be reached, which can be."""
    found = of(time(80), server)
    (refusal,) = found.refusals()
    assert said in refusal.message
    assert (found.adds, found.checks()) == (False, [])
    moment = refusal.remedy.split("restore_target=")[1].split(";")[0]
    assert of(target_of({"target_type": "time", "target": moment}), server).archived
    assert of(LATEST, server).refusals() == []
    assert said in str(of(LATEST, server).checks()[0].message)


def test_place_beyond_the_end() -> None:
    (refusal,) = of(Target("lsn", "0/9000010"), None).refusals()
    assert "Choose a place before 0/9000000" in refusal.remedy
    (refusal,) = of(Target("lsn", "0/9000010"), old()).refusals()
    assert "own log ends at 0/8000200" in refusal.message
    assert of(Target("lsn", "0/9000010"), old(lsn="0/9000010")).adds


def test_copy_elsewhere_is_told_how_its_source_archives() -> None:
    assert "pg_switch_wal()" in of(time(80), None, elsewhere=True).refusals()[0].remedy
    assert "start the server" in of(time(80), None).refusals()[0].remedy


def test_what_cannot_be_told_is_not_ok() -> None:
    choice = Choice(1, tree(Timeline(1, why="No time.")), 1)
    found = reach.of(time(20), choice, BACKUP, None, "No route.", own=False)
    assert (found.archived, found.refusals()) == (None, [])
    (check,) = found.checks()
    assert (check.status, "No time." in str(check.message)) == ("unknown", True)
    assert reach.of(time(20), choice, BACKUP, old(timeline=1), "", own=False).adds


def test_timeline_of_which_nothing_is_archived_yet() -> None:
    choice = Choice(2, tree(LINES[0], Timeline(2, 1, 0x7000000)), 2)
    (refusal,) = reach.of(time(80), choice, BACKUP, None, "No route.", own=False).refusals()
    assert "timeline 1: to 2026-11-24T10:40" in refusal.remedy


def test_now_is_what_the_database_s_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host's is an hour behind: its own now is not the limit, and the difference is said."""
    monkeypatch.setattr(source, "host_clock", lambda: at(30))
    server = old(ahead=3600.0)
    source.check_now(time(90), server)
    with pytest.raises(ConfigurationError, match="in the future: the database server's clock says 2026-11-24T11:30"):
        source.check_now(time(90.1), server)
    for target in (time(80), time(60)):
        assert "60 min ahead of this host's" in str(of(target, server).checks()[0].message)
    assert "2 min behind this host's" in old(ahead=-120.0).skew
    # Nobody knows what its clock said: the archive does.
    source.check_now(time(9000), None)
    assert "in the future" not in of(time(-10), None).words


class Clocks:
    """A server whose clock is so many seconds ahead, and that answers after some."""

    server_version = 150000

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ahead: float, takes: float) -> None:
        self.host = iter([TEN, TEN + timedelta(seconds=takes)])
        self.clock = TEN + timedelta(seconds=ahead + takes / 2)
        monkeypatch.setattr(source, "host_clock", lambda: next(self.host))
        monkeypatch.setattr(server, "describe", lambda _c: {"recovering": True})
        monkeypatch.setattr(server, "value", lambda _c, _q: self.clock)


@pytest.mark.parametrize(
    ("ahead", "takes", "said"), [(0, 0, False), (1, 1, False), (60, 1, True), (-60, 1, True), (10, 60, False)]
)
def test_clocks_differ_only_where_the_answer_s_time_does_not_explain_it(
    monkeypatch: pytest.MonkeyPatch, ahead: float, takes: float, said: bool
) -> None:
    found = source.look(Clocks(monkeypatch, ahead, takes))
    assert bool(found.ahead) == said
    assert found.ahead * ahead >= 0


def test_prepared_transactions() -> None:
    two = [Prepared("a", "'a'", at(10), "me", "db"), Prepared("b's\n", "'b''s\n'", at(60), "me", "db")]
    assert source.will_return(time(20), old(prepared=two), 2)[0].value == 1
    assert source.will_return(time(5), old(prepared=two), 2) == []
    assert source.will_return(LATEST, old(prepared=two), 2)[0].value == 2
    # Of another timeline nothing is known.
    assert source.will_return(LATEST, old(prepared=two), 1) == source.will_return(LATEST, None, 2) == []
    assert source.returned([]) == []
    (check,) = source.returned(two * 3)
    assert (check.status, check.value) == ("warning", 6)
    assert "\n" not in check.message + check.remedy
    assert "COMMIT PREPARED or ROLLBACK PREPARED 'b''s" in check.remedy
    assert "pg_prepared_xacts" in check.remedy


class Slow:
    """An archive that gets a segment at each look."""

    def __init__(self, *names: str, left: int) -> None:
        self.names, self.left, self.there = names, left, 0

    def again(self) -> None:
        self.there += self.there < len(self.names) - self.left

    def segments(self, _timeline: int) -> list[str]:
        return list(self.names[: self.there])


def test_rest_is_waited_for_while_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """All segments up to the last, in whatever order they come; and no further than that."""
    names = [f"0000000200000000000000{number:02X}" for number in (9, 10, 11)]
    found = of(time(80), old())
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setattr(reach, "end_segment", lambda _connection: names[-1])
    monkeypatch.setattr(server, "elsewhere", lambda _database: SimpleContext())
    monkeypatch.setattr(server, "value", lambda _c, _q: "The server failed 3 times, last with x.")
    monkeypatch.setattr(reach, "PATIENCE", 0.2)
    found.choice.tree.archive = Slow(*names, left=0)
    check = reach.archive_rest({}, found, lambda: None)
    assert check.value == names[-1]
    found.choice.tree.archive = Slow(*reversed(names), left=1)
    with pytest.raises(RestoreError, match=r"1 segment up to .* did not come .* failed 3 times") as failed:
        reach.archive_rest({}, found, lambda: None)
    assert "Nothing was stopped" in failed.value.remedy
    monkeypatch.setattr(reach, "end_segment", lambda _connection: "000000030000000000000009")
    with pytest.raises(RestoreError, match="went on to timeline 3"):
        reach.archive_rest({}, found, lambda: None)


class SimpleContext:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        pass
