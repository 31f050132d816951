# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate error_budget: what the availability objective still leaves, by the availability records in the ledger.

What counts is what somebody measured without a gap and recorded: the content of a trusted record of kind review or
run with "availability": {from, until, down_seconds, source}.

Where nobody does, dailies say at least whether application and database answered when they looked. That is a sample: it
proves soon that an objective is missed, and only by very many that it is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Dict, Iterable, List, Optional, Tuple

from ..checks import CRITICAL, OK, Check, unknown
from ..words import plural, span
from .gate import Gate
from .windows import merged, without

NAME, TITLE = "error_budget", "Error budget left"
KINDS = ("review", "run")
KEYS = ("from", "until", "down_seconds")
REMEDY = (
    "Record what monitoring measured: evidence_record with kind review and content {availability: {from, until, "
    "down_seconds, source}}, without gaps (docs/window.md)."
)


@dataclass(frozen=True)
class Measured:
    """An availability record.

    :param number: of the ledger's record
    """

    number: int
    starts: float
    ends: float
    down: float


_WAIT = "Wait until the budget recovers, or break the glass with a reason."
#: How likely a sample must be wrong at the most: then it proves nothing.
DOUBT = 0.05


@dataclass(frozen=True)
class Sample:
    """What dailies found.

    :param looks: days on which a daily looked
    :param down: days on which one found something down
    :param missing: days without a look, or on which it could not be told; they may be the worst ones
    """

    looks: int
    down: int
    missing: int = 0

    @classmethod
    def of(cls, answered: Iterable[Optional[bool]], days: int) -> Sample:
        """By what was found on each day that had a daily, None where that could not be told."""
        found = list(answered)
        looks = [each for each in found if each is not None]
        return cls(len(looks), looks.count(False), max(days - len(looks), len(found) - len(looks)))

    def worse(self, objective: float) -> bool:
        """Whether the availability is proven to be worse: so many failures are too unlikely otherwise."""
        return self.down > 0 and 1 - self._at_most(self.down - 1, objective) < DOUBT

    def better(self, objective: float) -> bool:
        """Whether the availability is proven to be better: so few failures are too unlikely otherwise."""
        return self.looks > 0 and not self.missing and self._at_most(self.down, objective) < DOUBT

    def _at_most(self, down: int, objective: float) -> float:
        """How likely so many failures or fewer are when the objective is just met."""
        up = objective / 100
        return math.fsum(
            math.comb(self.looks, each) * (1 - up) ** each * up ** (self.looks - each) for each in range(down + 1)
        )


def looks_needed(objective: float) -> int:
    """How many looks without a failure prove that an objective is kept."""
    return math.ceil(math.log(DOUBT) / math.log(objective / 100))


class BadMeasurement(ValueError):
    """A record says something of availability that makes no sense."""


def measured_of(number: int, kind: str, content: Dict[str, Any]) -> Optional[Measured]:
    """The measurement in a record, None if there is none.

    :raises BadMeasurement: it is one, and cannot be read
    """
    given = content.get("availability")
    if given is None or kind not in KINDS:
        return None
    if not isinstance(given, dict) or not set(KEYS) <= set(given) <= {*KEYS, "source"}:
        raise BadMeasurement(f"record {number} has an availability without {', '.join(KEYS)}, or with other keys")
    down = given["down_seconds"]
    try:
        starts, ends = (datetime.strptime(str(given[key]), "%Y-%m-%dT%H:%M:%S%z").timestamp() for key in KEYS[:2])
    except ValueError:
        raise BadMeasurement(f"record {number} has an availability of no known time") from None
    if isinstance(down, bool) or not isinstance(down, (int, float)) or not 0 <= down <= ends - starts:
        raise BadMeasurement(f"record {number} has an availability that makes no sense")
    return Measured(number, starts, ends, float(down))


def budget(
    found: Iterable[Measured],
    bad: List[str],
    now: float,
    objective: float,
    days: int,
    age: float,
    needed: float,
    sample: Sample = Sample(0, 0),
) -> Gate:
    """The gate. Two measurements of the same time: the newer record counts.

    :param found: newest record first
    :param bad: why something could not be read
    :param needed: s of downtime that the procedure may cause
    :param sample: of the dailies of these days; what was measured without a gap counts more
    """
    id = f"gate.{NAME}"
    kwargs: Dict[str, Any] = {"unit": "s", "source": "availability records in the ledger", "critical": 0}

    def gate(check: Check) -> Gate:
        return Gate(NAME, [check])

    def nobody(text: str, remedy: str = REMEDY) -> Gate:
        return gate(unknown(id, TITLE, text, remedy, **kwargs))

    def sampled(why: str) -> Gate:
        if not sample.looks:
            return nobody(f"{why} No daily says whether application and database answered.")
        text = f"{why} On {sample.down} of {plural(sample.looks, 'day')} a daily found application or database down"
        left = round(allowed - days * 86400 * sample.down / sample.looks, 1)
        details = {
            "looks": sample.looks,
            "down": sample.down,
            "missing": sample.missing,
            "allowed_s": round(allowed, 1),
        }
        if sample.worse(objective):
            text += f": {objective:g} % is missed."
            return gate(Check(id, TITLE, CRITICAL, left, message=text, remedy=_WAIT, details=details, **kwargs))
        if sample.better(objective) and left >= needed and left > 0:
            return gate(Check(id, TITLE, OK, left, message=f"{text}.", details=details, **kwargs))
        text += (
            f", which proves nothing yet: {looks_needed(objective):,} without a failure would prove {objective:g} %."
        )
        if sample.missing:
            text += f" Of {plural(sample.missing, 'day')} it is not known."
        return nobody(text)

    if bad:
        return nobody(f"The record of availability cannot be relied on: {'; '.join(bad[:3])}.")
    since = now - days * 86400
    newest: Dict[Tuple[float, float], Measured] = {}
    for each in found:
        if each.ends > since:
            newest.setdefault((each.starts, each.ends), each)
    kept: List[Measured] = list(newest.values())
    allowed = days * 86400 * (100 - objective) / 100
    if not kept:
        return sampled(f"No availability of the last {plural(days, 'day')} is in the ledger.")
    if any(each.ends > now + 300 for each in kept):
        return nobody("An availability record is of the future: a clock is wrong.", "Synchronise the clocks.")
    reached = max(each.ends for each in kept)
    gaps: List[Tuple[float, float]] = without([(since, now - age)], merged((e.starts, e.ends) for e in kept))
    missing = sum(ends - starts for starts, ends in gaps)
    # Overlaps count twice, and what began before the period counts whole: never too good.
    down = math.fsum(each.down for each in kept)
    left = round(allowed - down, 1)
    text = f"Of {span(allowed)} that {objective:g} % of {plural(days, 'day')} leave, {span(down)} are used."
    details = {"allowed_s": round(allowed, 1), "down_s": round(down, 1), "records": [each.number for each in kept][:50]}
    if left <= 0:
        text += " Nothing is left."
    elif left < needed:
        text += f" This may take {span(needed)} of downtime."
    if left <= 0 or left < needed:
        # What was measured is enough for that, whatever was not.
        return gate(Check(id, TITLE, CRITICAL, left, message=text, remedy=_WAIT, details=details, **kwargs))
    # A look a day says nothing against what was measured, and does not fill its gaps.
    if reached < now - age:
        return nobody(f"Availability was last recorded {span(now - reached)} ago.")
    if missing >= 1:
        return nobody(f"Of the last {plural(days, 'day')}, {span(missing)} are in no availability record.")
    return gate(Check(id, TITLE, OK, left, message=text, details=details, **kwargs))
