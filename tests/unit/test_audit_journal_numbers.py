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
