"""Whether an entry of the journal is missing, by numbers that several files share."""

from __future__ import annotations

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Period
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.journal_gaps import Run, Story, gaps

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
