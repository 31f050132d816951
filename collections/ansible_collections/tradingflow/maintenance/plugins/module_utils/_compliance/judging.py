# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all controls share: a check of a control, and what makes it unknown."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Tuple

from .._checks.sql import NotMeasured, Probe, Row, Views
from ..checks import CRITICAL, OK, WARNING, Check
from ..words import printable
from .controls import CONTROLS


def told(id: str, status: str, value: Any, message: str, remedy: str = "", **kwargs: Any) -> Check:
    """The check of a control."""
    return Check(id, CONTROLS[id], status, value, message=message, remedy="" if status == OK else remedy, **kwargs)


def status_of(critical: Any, warning: Any = 0) -> str:
    """Critical where there is any of the first, a warning where there is any of the second."""
    return CRITICAL if critical else WARNING if warning else OK


def probe(id: str, sql: str, judge: Callable[[Row, Row], Check], views: Views, **kwargs: Any) -> Probe:
    """A control that is one statement with one row.

    :param judge: gets the row and what the run knows
    """

    def judged(rows: List[Row], _thresholds: Row, given: Row) -> Iterator[Check]:
        yield judge(dict(rows[0]), given)

    source = ", ".join(f"view maintenance.{name}" for name in views)
    return Probe(((id, CONTROLS[id]),), source, sql, judged, views=views, context=True, **kwargs)


def of_all(whole: str, parts: Iterable[Tuple[int, str]], none: str) -> str:
    """A sentence that names only what there is some of.

    :param whole: of what, counted
    :param parts: how many, and of which it is said
    :param none: what is said when there is none of any
    """
    told = [f"{count:,} {text}" for count, text in parts if count]
    return f"Of {whole}: {', '.join(told)}." if told else f"{none}."


def refuse_strange(count: int, what: str, view: str, column: str, words: Tuple[str, ...]) -> None:
    """What is not recognised is never good.

    :raises NotMeasured: there is any
    """
    if count:
        raise NotMeasured(
            f"{count:,} {what} of the view maintenance.{view} have a {column} that is not known, or none.",
            f"Let {column} be one of: {', '.join(words)}.",
        )


def refuse_undated(count: int, view: str, column: str) -> None:
    """The same for times: none, infinite, or in the future where that cannot be.

    :raises NotMeasured: there is any
    """
    if count:
        raise NotMeasured(
            f"{count:,} rows of the view maintenance.{view} have no {column} that can be.",
            f"Correct {column}: a time, not infinite, and not in the future where it tells the past.",
        )


def refuse_empty(count: int, view: str, what: str) -> None:
    """An empty view is no good news.

    :raises NotMeasured: it is empty
    """
    if not count:
        raise NotMeasured(f"the view maintenance.{view} has {what}.", f"Define {view} over the tables that have them.")


def words_sql(column: str, words: Tuple[str, ...]) -> str:
    """SQL: whether a word is none of those known."""
    return "(" + column + " IN (" + ", ".join(f"'{word}'" for word in words) + ")) IS NOT TRUE"


def happened(column: str) -> str:
    """SQL: a time of the past."""
    return f"(isfinite({column}) AND {column} <= now() + interval '5 s')"


def firsts(rows: Any, most: int = 10) -> List[str]:
    """The first few of an array of the database, for details."""
    return [printable(each, 60) for each in (rows or [])[:most]]


#: A mapping of a control's own details.
Details = Mapping[str, Dict[str, Any]]
