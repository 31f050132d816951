"""Whether an entry of the journal is missing, by numbers that several files share."""

from __future__ import annotations

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Period
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.journal_gaps import Boot, Run, Story, gaps

PERIOD = Period("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z")
BEGIN = int(PERIOD.epochs()[0] * 1e6)


def story(source: bytes, *runs: tuple[int, int]) -> Story:
    """A file whose entries have these numbers, one each second."""
    made = Story(first=BEGIN)
    made.runs[source] = [Run(first, last, BEGIN + first * 1_000_000, BEGIN + last * 1_000_000) for first, last in runs]
    return made


@pytest.mark.parametrize(
    ("system", "user", "missing"),
    [
        # Debian 12: the user's file has another source of numbers, and the same counter.
        ([(1, 3), (8, 9), (20, 30)], [(4, 7), (10, 19)], []),
        ([(1, 3), (8, 9)], [(4, 6)], ["1 entry is"]),
        ([(1, 3), (8, 9)], [], ["4 entries are"]),
        ([(1, 3), (9, 9)], [(4, 5), (8, 8)], ["2 entries are", "2 entries are"]),
        # Twice the same number counts once.
        ([(1, 3), (8, 9)], [(4, 6), (5, 6)], ["1 entry is"]),
    ],
)
def test_what_one_file_lacks_another_may_have(
    system: list[tuple[int, int]], user: list[tuple[int, int]], missing: list[str]
) -> None:
    stories = [story(b"s", *system), *([story(b"u", *user)] if user else [])]
    found = [gap.reason for gap in gaps(stories, PERIOD)]
    assert [reason.partition(" missing")[0] for reason in found] == missing


def test_numbers_of_another_time_do_not_count() -> None:
    """Those of an earlier boot, whose counter began anew."""
    other = Story(first=BEGIN)
    other.runs[b"u"] = [Run(4, 7, BEGIN + 80_000_000, BEGIN + 90_000_000)]
    (gap,) = gaps([story(b"s", (1, 3), (8, 9)), other], PERIOD)
    assert gap.reason.startswith("4 entries are missing")


END = int(PERIOD.epochs()[1] * 1e6)
OWN, OTHER = "a" * 32, "b" * 32


def file(name: str, first: int, last: int) -> Story:
    made = Story(first=first, name=name)
    made.boots[b"b"] = Boot(first, last, orderly=True)
    return made


@pytest.mark.parametrize(
    ("files", "reasons"),
    [
        ([file(f"{OWN}/system.journal", BEGIN, END)], []),
        # The journal of the host that this one was cloned from.
        (
            [file(f"{OTHER}/system.journal", 5, 9), file(f"{OWN}/system.journal", BEGIN + 9, END)],
            [f"the journal in {OWN} begins late: what was before is vacuumed, or never was"],
        ),
        ([file(f"{OTHER}/system.journal", 5, 9), file(f"{OWN}/system@1.journal", BEGIN, END)], []),
        # A user's file reaches back, the system's does not.
        (
            [file(f"{OWN}/user-1000.journal", 5, END), file(f"{OWN}/system.journal", BEGIN + 9, END)],
            ["the journal begins late: what was before is vacuumed, or never was"],
        ),
        (
            [file(f"{OWN}/system.journal", BEGIN, BEGIN + 9), file("remote/a.journal", BEGIN, END)],
            [f"the journal in {OWN} has nothing since: it was not written, or what was written is lost"],
        ),
        (
            [file(f"{OTHER}/system.journal", BEGIN, END)],
            ["there is no journal of this host's own machine-id, only others'"],
        ),
    ],
)
def test_another_folder_says_nothing_of_the_hosts_own(files: list[Story], reasons: list[str]) -> None:
    assert [gap.reason for gap in gaps(files, PERIOD, OWN)] == reasons


BOOTED = 120_000_000


def numbered(
    name: str, source: bytes, runs: list[tuple[int, int, int, int]], up: int = 86_400_000_000, started: int = 0
) -> Story:
    """A file with runs of numbers: first and last, and when, in seconds of the day.

    :param up: for how long the host ran at its first entry, in us
    :param started: when journald said that it began, in seconds of the day
    """
    made = Story(name=name)
    for first, last, begin, end in runs:
        run = Run(first, last, BEGIN + begin * 1_000_000, BEGIN + end * 1_000_000, up)
        made.runs.setdefault(source, []).append(run)
        up = 86_400_000_000
    begin, end = made.runs[source][0].begin, made.runs[source][-1].end
    made.first = begin
    made.boots[b"boot"] = Boot(begin, end, orderly=True)
    if started:
        made.started.append(BEGIN + started * 1_000_000)
    return made


SYSTEM, USER = f"{OWN}/system.journal", f"{OWN}/user-1000.journal"


@pytest.mark.parametrize(
    ("later", "gap"),
    [
        # What was before number 500 of the second source is nowhere: a file was deleted.
        (numbered(SYSTEM, b"t", [(500, 900, 5000, 86400)]), ("00:50:00Z", "01:23:20Z")),
        # The counter of both is one, as on Debian 12, and the number before is the system's.
        (numbered(USER, b"t", [(101, 120, 3001, 3100)]), None),
        # The same numbers, but hours after: another counter.
        (numbered(USER, b"t", [(51, 120, 5000, 86400)]), ("00:50:00Z", "01:23:20Z")),
        # It begins with its first number, with the host, or with journald itself.
        (numbered(SYSTEM, b"t", [(1, 900, 5000, 86400)]), None),
        (numbered(SYSTEM, b"t", [(500, 900, 5000, 86400)], up=5_000_000), None),
        (numbered(SYSTEM, b"t", [(500, 900, 5000, 86400)], started=5001), None),
        # That journald began long after says nothing of what was before.
        (numbered(SYSTEM, b"t", [(500, 900, 5000, 86400)], started=6000), ("00:50:00Z", "01:23:20Z")),
    ],
)
def test_each_source_of_numbers_has_to_have_its_begin(later: Story, gap: tuple[str, str] | None) -> None:
    first = numbered(f"{OWN}/system@1.journal", b"s", [(1, 100, -10, 3000)])
    found = [each for each in gaps([first, later], PERIOD) if "before number" in each.reason]
    assert [(each.begin[11:], each.end[11:]) for each in found] == ([gap] if gap else [])


def test_a_clock_that_was_set_back_where_one_file_ends_is_named() -> None:
    """systemd begins a new file then (254 and later)."""
    older = numbered(f"{OWN}/system@1.journal", b"s", [(1, 100, -10, 5000)])
    newer = numbered(SYSTEM, b"s", [(101, 200, 4000, 86400)])
    (gap,) = gaps([older, newer], PERIOD)
    assert (gap.begin[11:], gap.end[11:], gap.reason) == ("01:06:40Z", "01:23:20Z", "the clock was set back by 17 min")
    forward = numbered(SYSTEM, b"s", [(101, 200, 6000, 86400)])
    assert gaps([older, forward], PERIOD) == []


def test_a_gap_is_not_filled_by_another_machines_numbers() -> None:
    ours = numbered(SYSTEM, b"s", [(1, 100, -10, 3000), (200, 300, 5000, 86400)])
    theirs = numbered(f"{OTHER}/system.journal", b"o", [(1, 1000, -10, 86400)])
    (gap,) = gaps([ours, theirs], PERIOD)
    assert gap.reason.startswith("99 entries are missing")
