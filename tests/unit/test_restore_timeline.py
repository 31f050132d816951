"""Timelines: history files by their grammar, the choice by what the log tells, and the proof after a replay."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import history, timelines
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest.history import Ancestor
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest.timelines import Timeline, Tree
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import heartbeats, timeline
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore.target import Target
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, RestoreError

TEN = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    """A time after ten o'clock."""
    return TEN + timedelta(minutes=minutes)


class Known:
    """An archive of which all is known already."""

    id = "15-1"


def tree(*lines: Timeline) -> Tree:
    made = Tree(Known(), {line.number: line for line in lines})
    for line in lines:
        above = made.lines.get(line.parent)
        if above:
            made.ancestors[line.number] = [
                *made.ancestors.get(above.number, []),
                Ancestor(above.number, line.switch, line.reason),
            ]
    made._timed.update(made.lines)
    return made


#: From ten on; to 10:11 and back at 10:46, where nobody wrote; to 10:30 and back at 10:52, which is in use.
GUESSES = (
    Timeline(1, newest="000000010000000000000009", ends=at(40)),
    Timeline(2, 1, 0x5000000, newest="000000020000000000000005", begins=at(46), ends=at(50)),
    Timeline(3, 1, 0x7000000, newest="000000030000000000000008", begins=at(52), ends=at(70)),
)


@pytest.mark.parametrize(
    ("minutes", "number", "others"),
    [
        (5, 1, []),
        (35, 1, []),  # after both left it
        (48, 2, []),  # only on the one that nobody is on any more
        (60, 3, []),
        (90, 3, []),  # what is archived of the current one grows
    ],
)
def test_time_is_looked_for_on_the_timeline_that_has_it(minutes: float, number: int, others: list[int]) -> None:
    chosen = timeline.choose(tree(*GUESSES), Target("time", "", at(minutes)), "auto", 3)
    assert (chosen.number, chosen.others) == (number, others)


def test_words_of_a_timeline_on_which_nothing_happened() -> None:
    shown = {"timeline": 2, "parent": 1, "switch": "0/5000000", "current": False, "note": ""}
    begun = {**shown, "from": "2026-11-24T10:46:00.000Z"}
    for to in (None, "2026-11-24T10:46:00.000Z"):
        assert timeline.words_of({**begun, "to": to}).endswith(
            ": no transaction archived since 2026-11-24T10:46:00.000Z"
        )
    assert timeline.words_of({**begun, "to": "2026-11-24T10:46:01.000Z"}).endswith("to 2026-11-24T10:46:01.000Z")


@pytest.mark.parametrize("minutes", [42, 45.9, 51])
def test_time_that_no_timeline_has(minutes: float) -> None:
    with pytest.raises(ConfigurationError, match="is on no timeline") as refused:
        timeline.choose(tree(*GUESSES), Target("time", "", at(minutes)), "auto", 3)
    for window in ("timeline 1: to 2026-11-24T10:40", "timeline 2 (left 1 at 0/5000000): from 2026-11-24T10:46"):
        assert window in refused.value.remedy


def test_two_timelines_that_both_have_it() -> None:
    """An old primary that went on after the promotion of another: the database's own counts, the other is offered."""
    both = tree(Timeline(1, ends=at(60)), Timeline(2, 1, 0x5000000, begins=at(30), ends=at(70)))
    wanted = Target("time", "", at(45))
    mine, theirs = (timeline.choose(both, wanted, "auto", current) for current in (2, 1))
    assert (mine.number, mine.others) == (2, [1])
    assert "restore_target_timeline=1" in mine.words
    assert (theirs.number, theirs.others) == (1, [2])
    # Nobody knows which it is: the newest.
    assert timeline.choose(both, wanted, "auto", None).number == 2
    assert timeline.choose(both, wanted, "1", 2).number == 1
    assert timeline.choose(both, wanted, "0x1", 2).number == 1


def test_a_timeline_without_a_transaction_has_no_time() -> None:
    empty = tree(Timeline(1, ends=at(40)), Timeline(2, 1, 0x5000000))
    assert timeline.choose(empty, Target("time", "", at(20)), "auto", 2).number == 1
    with pytest.raises(ConfigurationError, match="is on no timeline"):
        timeline.choose(empty, Target("time", "", at(41)), "auto", 2)


def test_what_cannot_be_read_is_not_guessed() -> None:
    unread = Timeline(2, 1, 0x5000000, why="A segment cannot be read.")
    wanted = Target("time", "", at(20))
    with pytest.raises(ConfigurationError, match="timeline 2 tells no times") as refused:
        timeline.choose(tree(Timeline(1, ends=at(40)), unread), wanted, "auto", 2)
    assert "restore_target_timeline" in refused.value.remedy
    # Not on the way to the current one: it changes nothing.
    other = Timeline(3, 1, 0x6000000, begins=at(50), ends=at(60))
    assert timeline.choose(tree(Timeline(1, ends=at(40)), unread, other), wanted, "auto", 3).number == 1


@pytest.mark.parametrize(
    ("lsn", "number", "others"),
    [
        ("0/4000000", 3, []),  # before all left
        ("0/6800000", 3, []),  # on the way to the current one
        ("0/7800000", 3, [1]),
        ("0/9800000", 1, []),
        ("1/0", 3, []),  # nowhere yet
    ],
)
def test_place_in_the_log(monkeypatch: pytest.MonkeyPatch, lsn: str, number: int, others: list[int]) -> None:
    monkeypatch.setattr(Tree, "size", lambda self: 16 << 20)
    chosen = timeline.choose(tree(*GUESSES), Target("lsn", lsn), "auto", 3)
    assert (chosen.number, chosen.others) == (number, others)


def test_other_targets() -> None:
    guesses = tree(*GUESSES)
    for target, asked, current, own, number in (
        (Target("latest", ""), "auto", 2, 0, 2),
        (Target("latest", ""), "auto", None, 0, 3),
        (Target("latest", ""), "latest", 2, 0, 3),
        (Target("name", "tradingflow_x"), "auto", 3, 1, 1),
        (Target("name", "mine"), "auto", 3, 0, 3),
    ):
        assert timeline.choose(guesses, target, asked, current, own).number == number
    for asked, said in (("4", "no history file of timeline 4; it knows 1, 2, 3"), ("new", "is not a timeline")):
        with pytest.raises(ConfigurationError, match=said):
            timeline.choose(guesses, Target("latest", ""), asked, 3)


def test_proof_names_the_timeline_that_has_it() -> None:
    guesses, wanted = tree(*GUESSES), Target("time", "", at(35))
    followed = timeline.choose(guesses, wanted, "3", 3)
    with pytest.raises(
        RestoreError, match=re.escape("began at 2026-11-24T10:52:00.000Z and left timeline 1")
    ) as not_on:
        timeline.proven(followed, wanted, 1, "0/7000100", at(30))
    assert "restore_target_timeline=1" in not_on.value.remedy
    right = timeline.choose(guesses, wanted, "auto", 3)
    assert timeline.proven(right, wanted, 1, "0/7F00000", at(34))["timeline"] == 1
    # Up to where it left, its parent's log is its own.
    early = Target("time", "", at(5))
    assert timeline.proven(followed, early, 1, "0/4000000", at(4))["timeline"] == 1
    # A backup of the timeline itself that ended before the target.
    assert timeline.proven(followed, Target("time", "", at(60)), 3, "0/7000100", None)["timeline"] == 3
    with pytest.raises(RestoreError, match="went beyond"):
        timeline.proven(right, wanted, 1, "0/7F00000", at(36))
    with pytest.raises(RestoreError, match="before 0/8000000"):
        timeline.proven(followed, Target("lsn", "0/8000000"), 3, "0/7F00000", None)


def test_backups_from_which_a_timeline_can_be_reached() -> None:
    guesses = tree(*GUESSES)
    for number, line, end, can in (
        (1, 1, 0x8000000, True),
        (3, 1, 0x6000000, True),
        (3, 1, 0x7000001, False),  # made after the place where the way leaves
        (3, 2, 0x5000100, False),  # of another branch
        (2, 2, 0x5000100, True),
    ):
        assert guesses.reaches(number, line, end) == can


HISTORY = b'1\t0/5000148\tbefore 2026-11-24 10:11:00.5+00\n\n# a comment\n  2\t1/A0\tat restore point "a b"\n'


def test_history_file() -> None:
    assert history.parse(HISTORY, 4) == [
        Ancestor(1, 0x5000148, "before 2026-11-24 10:11:00.5+00"),
        Ancestor(2, 0x1000000A0, 'at restore point "a b"'),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"# nothing\n",
        b"1 0/5000148 spaces\n",
        b"1\t0/5000148\tof a name\nwith a line break\n",
        b"2\t0/5\tx\n1\t0/6\tx\n",
        b"4\t0/5\tits own child\n",
        b"1\t0/6\tx\n2\t0/5\tbackwards\n",
        b"0\t0/6\tx\n",
        b"\x00\xff\x1f",
    ],
)
def test_history_file_that_is_none(body: bytes) -> None:
    with pytest.raises(RestoreError, match="is damaged"):
        history.parse(body, 4)


class Files:
    """An archive of history files and names of segments."""

    id = "15-1"

    def __init__(self, histories: dict[int, bytes], names: list[str]) -> None:
        self._histories = histories
        self._names = names

    @property
    def histories(self) -> list[int]:
        return sorted(self._histories)

    @property
    def timelines(self) -> list[int]:
        return sorted({*self._histories, *(int(name[:8], 16) for name in self._names)})

    def history(self, number: int) -> bytes:
        return self._histories[number]

    def segments(self, number: int, *, newest_first: bool = False) -> Any:
        return sorted((name for name in self._names if int(name[:8], 16) == number), reverse=newest_first)

    def segment(self, name: str) -> bytes:
        return b"no segment"


def test_tree_of_an_archive() -> None:
    """Of timeline 2 the history was removed as too old, of 9 it never came."""
    names = [
        "000000010000000000000005",
        "000000040000000100000000",
        "000000040000000100000001",
        "0" * 7 + "9" + "0" * 16,
    ]
    made = timelines.load(Files({4: HISTORY, 3: b"1\t0/4000000\tx\n"}, names))
    assert {line.number: (line.parent, line.switch, line.there) for line in made.lines.values()} == {
        1: (0, 0, True),
        2: (1, 0x5000148, False),
        3: (1, 0x4000000, True),
        4: (2, 0x1000000A0, True),
        9: (0, 0, False),
    }
    assert "00000009.history is not in the archive" in made.lines[9].why
    assert made.lines[4].newest == names[2]
    assert [made.on(4, place) for place in (0x5000148, 0x5000149, 0x1000000A1)] == [1, 2, 4]
    assert made.lineage(4) == [1, 2, 4]
    with pytest.raises(ConfigurationError, match="no history file of timeline 2"):
        timeline.choose(made, Target("latest", ""), "2", 4)
    # What it descends from is not known: whoever is on it is not taken to another in silence.
    for target, current in ((Target("latest", ""), None), (Target("latest", ""), 9), (Target("time", "", at(5)), 9)):
        with pytest.raises(ConfigurationError, match="timeline 9"):
            timeline.choose(made, target, "auto", current)
    with pytest.raises(ConfigurationError, match="on timeline 12, of which nothing is in the archive"):
        timeline.choose(made, Target("latest", ""), "auto", 12)
    assert timeline.choose(made, Target("latest", ""), "4", 9).number == 4
    assert timelines.load(Files({}, [])).lines.keys() == {1}


def test_damaged_history_of_one_timeline_leaves_the_others() -> None:
    made = timelines.load(Files({2: b"\x00", 3: b"1\t0/4000000\tx\n"}, []))
    assert "is damaged" in made.lines[2].why
    assert (made.lines[2].there, made.lines[3].there) == (False, True)
    assert timeline.choose(made, Target("latest", ""), "auto", 3).number == 3


def test_heartbeats_have_a_lower_bound_too() -> None:
    point = {"database": {"name": "tradingflow", "heartbeat": [{"beat_at": at(0).isoformat()}, {"beat_at": None}]}}
    floor = heartbeats.floor_of(point, "tradingflow")
    assert floor == at(0)
    assert heartbeats.floor_of(point, "other") is None
    wanted = Target("time", "", at(90))
    for newest, status in ((at(-1), "critical"), (at(1), "warning"), (at(89), "ok")):
        (check,) = heartbeats.judged(wanted, newest, 0, {}, floor, 3600)
        assert check.status == status, check.message
