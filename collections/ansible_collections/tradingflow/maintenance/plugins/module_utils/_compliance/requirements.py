# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requirements as data (compliance/requirements.json): what applies where and when, and what supports it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from .._ledger.record import KINDS
from ..errors import ConfigurationError
from ..words import printable
from .controls import CONTROLS

#: The firm's own, whatever the jurisdiction.
ANY = "any"
JURISDICTIONS = (ANY, "EU", "UK", "US", "US-CA")
#: What clocks are asked for, from strict to loose.
ACTIVITIES = ("high_frequency", "algorithmic", "other")

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CHECK = re.compile(r"[a-z_]+\.[a-z_]+")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TEXTS = ("id", "title", "jurisdiction", "source", "owner", "human")
_LISTS = ("controls", "checks", "ledger")
_KEYS = {*_TEXTS, *_LISTS, "from", "until", "superseded_by"}


@dataclass(frozen=True)
class Requirement:
    """One requirement.

    :param begins: the first day on which it applies
    :param ends: the first day on which it no longer does, None while no end is known
    :param owner: whose it is: a role, see the option owners
    :param controls: ids of checks of this area
    :param checks: ids of checks of other areas, without their instance
    :param ledger: kinds of records of the ledger that are evidence for it
    :param human: what no check does
    :param clock: activity -> how far in s a clock may be from UTC
    """

    id: str
    title: str
    jurisdiction: str
    source: str
    begins: date
    ends: Optional[date]
    superseded_by: Optional[str]
    owner: str
    controls: Tuple[str, ...]
    checks: Tuple[str, ...]
    ledger: Tuple[str, ...]
    human: str
    clock: Dict[str, Decimal] = field(default_factory=dict)

    def applies(self, on: date) -> bool:
        """Whether it is in force on a day."""
        return self.begins <= on and (self.ends is None or on < self.ends)


@dataclass(frozen=True)
class Catalogue:
    """All requirements that are known, and what must be said along with them."""

    notice: str
    requirements: Tuple[Requirement, ...]

    def within(self, jurisdictions: Sequence[str]) -> List[Requirement]:
        """Those of some jurisdictions, and those that know none.

        :raises ConfigurationError: there is no requirement of one of them
        """
        known = {each.jurisdiction for each in self.requirements}
        for name in jurisdictions:
            if name not in known:
                raise ConfigurationError(
                    f"There is no requirement of the jurisdiction {printable(name, 40)}.",
                    f"Use some of {', '.join(sorted(known))} in compliance_report_jurisdictions.",
                )
        return [each for each in self.requirements if each.jurisdiction in {ANY, *jurisdictions}]


def load(path: Path) -> Catalogue:
    """The requirements of a file.

    :raises ConfigurationError: it cannot be read, or is not what schemas/compliance-requirements-1.json says
    """
    try:
        return parse(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The requirements in {path} cannot be read: {error}.",
            "Correct the file, see schemas/compliance-requirements-1.json and docs/compliance.md.",
        ) from None


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def parse(data: Any) -> Catalogue:
    """The same from its data.

    :raises ValueError: it is none; the text says why
    """
    if not isinstance(data, dict) or data.keys() != {"version", "notice", "requirements"}:
        raise ValueError("it needs version, notice and requirements, and nothing else")
    if data["version"] != 1 or isinstance(data["version"], bool):
        raise ValueError("version is not 1")
    if not _text(data["notice"]) or not isinstance(data["requirements"], list) or not data["requirements"]:
        raise ValueError("notice must be a text, requirements a list with something in it")
    found = [_requirement(each) for each in data["requirements"]]
    by_id = {each.id: each for each in found}
    if len(by_id) != len(found):
        raise ValueError("an id is there twice")
    for each in found:
        if each.superseded_by is None:
            continue
        after = by_id.get(each.superseded_by)
        if each.ends is None or after is None:
            raise ValueError(f"{each.id} is superseded, but has no end, or what follows is not there")
        if after.begins > each.ends:
            raise ValueError(f"between {each.id} and {after.id} there are days on which nothing applies")
    return Catalogue(data["notice"], tuple(found))


def _requirement(data: Any) -> Requirement:
    if not isinstance(data, dict) or not _KEYS <= data.keys() <= {*_KEYS, "clock"}:
        raise ValueError(f"a requirement has the keys {', '.join(sorted(_KEYS))} and perhaps clock, and no others")
    name = printable(data["id"], 60)
    for key in _TEXTS:
        if not _text(data[key]):
            raise ValueError(f"{key} of {name} is no text")
    if not _ID.fullmatch(data["id"]):
        raise ValueError(f"the id {name} is not in lower case with hyphens")
    if data["jurisdiction"] not in JURISDICTIONS:
        raise ValueError(f"the jurisdiction of {name} is none of {', '.join(JURISDICTIONS)}")
    lists = {key: _texts(data[key], f"{key} of {name}") for key in _LISTS}
    for known, key in ((CONTROLS, "controls"), ((*KINDS, "audit"), "ledger")):
        strange = [each for each in lists[key] if each not in known]
        if strange:
            raise ValueError(f"{key} of {name} are not known: {printable(', '.join(strange), 80)}")
    strange = [each for each in lists["checks"] if not _CHECK.fullmatch(each)]
    if strange:
        raise ValueError(f"checks of {name} are no ids: {printable(', '.join(strange), 80)}")
    if not lists["controls"] and not lists["checks"]:
        raise ValueError(f"{name} is supported by nothing that is measured")
    begins, ends = _date(data["from"], name), None if data["until"] is None else _date(data["until"], name)
    if ends is not None and ends <= begins:
        raise ValueError(f"{name} ends before it begins")
    after = data["superseded_by"]
    if after is not None and not _text(after):
        raise ValueError(f"superseded_by of {name} is no text")
    return Requirement(
        id=data["id"],
        title=data["title"],
        jurisdiction=data["jurisdiction"],
        source=data["source"],
        begins=begins,
        ends=ends,
        superseded_by=after,
        owner=data["owner"],
        controls=lists["controls"],
        checks=lists["checks"],
        ledger=lists["ledger"],
        human=data["human"],
        clock=_clock(data.get("clock"), name, "compliance.clock_synchronisation" in lists["controls"]),
    )


def _clock(data: Any, name: str, needed: bool) -> Dict[str, Decimal]:
    if (data is not None) != needed:
        raise ValueError(f"{name} needs clock if it has the control of clocks, and only then")
    if data is None:
        return {}
    if not isinstance(data, dict) or data.keys() != set(ACTIVITIES):
        raise ValueError(f"clock of {name} needs {', '.join(ACTIVITIES)}")
    try:
        found = {key: Decimal(value) if isinstance(value, str) else Decimal("NaN") for key, value in data.items()}
    except InvalidOperation:
        found = {"": Decimal("NaN")}
    if not all(value.is_finite() and value > 0 for value in found.values()):
        raise ValueError(f"clock of {name} must be s above 0, as text")
    return found


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _texts(value: Any, what: str) -> Tuple[str, ...]:
    if not isinstance(value, list) or not all(_text(each) for each in value) or len(set(value)) != len(value):
        raise ValueError(f"{what} is no list of texts, each once")
    return tuple(value)


def _date(value: Any, name: str) -> date:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError(f"a date of {name} is not like 2026-01-31")
    try:
        return date(*map(int, value.split("-")))
    except ValueError:
        raise ValueError(f"a date of {name} is not in the calendar") from None
