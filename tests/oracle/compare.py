"""What is expected against what the checks report."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from .figures import Figure, Use

#: Quotients have as many digits as each side likes.
CLOSE = Decimal("1e-20")


def disagreements(figures: dict[str, Figure], checks: dict[str, Check], elapsed: Decimal) -> list[str]:
    """Every figure on which oracle and checks differ, in words.

    :param elapsed: s that may lie between export and measurement
    """
    found = [f"{id}: only the oracle has it" for id in figures.keys() - checks.keys()]
    found += [f"{id}: only the checks have it" for id in checks.keys() - figures.keys()]
    for id in figures.keys() & checks.keys():
        found += [f"{id}: {text}" for text in of_one(figures[id], checks[id], elapsed)]
    return sorted(found)


def of_one(figure: Figure, check: Check, elapsed: Decimal) -> list[str]:
    """The same of one check."""
    found = []
    if figure.status != check.status:
        found.append(f"{figure.status} is expected, reported is {check.status}: {check.message}")
    if not same(figure, check.value, elapsed):
        found.append(f"{figure.value} is expected, reported is {check.value}")
    if (figure.classes or None) != (check.details.get("classes") or None):
        found.append(f"{figure.classes} are expected, reported are {check.details.get('classes')}")
    found += possible(figure, check)
    if figure.uses is not None:
        found += limits(figure.uses, check.details["limits"])
    return found


def possible(figure: Figure, check: Check) -> list[str]:
    """Differences of what may be the same execution under another id: how many, and which the first may be."""
    flagged = check.details.get("possible_matches", 0)
    found = []
    if flagged != len(figure.possible):
        found.append(f"{len(figure.possible)} possible matches are expected, reported are {flagged}")
    others: dict[tuple[str | None, ...], set[str | None]] = {}
    for row, ids in figure.possible:
        key = (row["venue"], row["venue_execution_id"], row["account"], row["instrument"])
        # Without an id, several may have one key, and not all of them be alike to one of the other side.
        others.setdefault(key, set() if row["venue_execution_id"] else {None}).update(ids)
    for one in check.details.get("first") or []:
        key = tuple(one.get(name) for name in ("venue", "id", "account", "instrument"))
        wanted = others.get(key, {None})
        if one.get("possible_match") not in wanted:
            found.append(f"{one} may be one of {wanted}")
    return found


def continued(figure: Figure, check: Check, before: Figure | None) -> list[str]:
    """Differences of what became of the breaks of the run before.

    :param before: of the last run that measured
    """
    names = ("new", "carried", "resolved", "not_compared")
    reported = [check.details.get(name) for name in names]
    if figure.broken is None or before is None or before.broken is None:
        wanted: list[int | None] = [None] * len(names)
    else:
        gone = len(before.broken - figure.broken)
        resolved, unseen = (gone, None) if figure.whole else (0, gone or None)
        wanted = [len(figure.broken - before.broken), len(figure.broken & before.broken), resolved, unseen]
    told = ", ".join(names)
    return [] if reported == wanted else [f"{wanted} ({told}) are expected, reported are {reported}"]


def same(figure: Figure, reported: Any, elapsed: Decimal) -> bool:
    """Whether a value is the expected one, rounded as it is, and grown since if it is an age."""
    if figure.value is None or reported is None or isinstance(figure.value, str):
        return bool(figure.value == reported)
    rounding = Decimal(0) if figure.places is None else Decimal(10) ** -figure.places / 2
    # Ages and quantiles are floats.
    rounding += Decimal(0) if figure.places is None else Decimal("1e-6") + abs(figure.value) * Decimal("1e-12")
    value = Decimal(str(reported))
    return figure.value - rounding <= value <= figure.value + figure.growth * elapsed + rounding


def limits(uses: list[Use], reported: list[dict[str, Any]]) -> list[str]:
    """Differences of risk limits, whatever their order among those of one metric."""
    if len(uses) != len(reported):
        return [f"{len(uses)} limits are expected, reported are {len(reported)}"]
    found = []
    left = list(reported)
    for use in uses:
        match = next((one for one in left if limit(use, one)), None)
        if match is None:
            found.append(f"{use} is expected, reported are {reported}")
        else:
            left.remove(match)
    return found


def limit(use: Use, reported: dict[str, Any]) -> bool:
    """Whether this is the limit reported."""
    if (use.metric, use.status) != (reported["metric"], reported["status"]):
        return False
    if use.value is None:
        return "used" not in reported and any(why in reported["why"] for why in use.why)
    used, headroom = Decimal(reported.get("used", "NaN")), Decimal(reported.get("headroom", "NaN"))
    ceiling = Decimal(reported["limit"])
    return bool(
        used.is_finite()
        and abs(used - use.value) <= abs(use.value) * CLOSE
        and abs(headroom - (ceiling - use.value)) <= abs(ceiling) * CLOSE + abs(use.value) * CLOSE
    )
