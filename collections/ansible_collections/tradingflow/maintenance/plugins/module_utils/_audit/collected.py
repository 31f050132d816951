# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""collected.json: what was collected of one host for a period, and how complete it is."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional, Type, TypeVar

from ..errors import EvidenceError
from ..words import plural

# pylint: disable=unidiomatic-typecheck  # JSON's true is an int in Python, but no number

VERSION = 1
#: The file's name in each staging folder.
NAME = "collected.json"
KINDS = (
    *("journal", "log_file", "container", "kubernetes", "table", "configuration", "roles", "ledger"),
    *("versions", "clock"),
)
COMPLETE, PARTIAL, FAILED = "complete", "partial", "failed"
OUTCOMES = (COMPLETE, PARTIAL, FAILED)

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_SOURCE = re.compile(r"[a-z0-9_.-]+", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_STEP = re.compile(r"[A-Za-z0-9_@%+=:,~.-]+", re.ASCII)

_T = TypeVar("_T")


def written(at: datetime) -> str:
    """A time as collected.json has it; of a second, what is left is cut off.

    :param at: with its zone
    """
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed(text: str) -> datetime:
    """A time of collected.json.

    :raises EvidenceError: it is not written as one, or there is no such day or hour
    """
    try:
        if type(text) is not str or not _TIME.fullmatch(text):
            raise ValueError
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        raise _bad(f"{str(text)[:60]!r} is not a time such as 2026-10-01T00:00:00Z") from None


def safe_path(path: Any) -> bool:
    """Whether a path stays below the folder that it is relative to, on any system, and has one spelling only."""
    if type(path) is not str or len(path) > 1000 or path.startswith("-"):
        return False
    return all(_STEP.fullmatch(step) and step not in (".", "..") for step in path.split("/"))


@dataclass(frozen=True)
class Period:
    """Half-open: from belongs to it, to does not."""

    begin: str
    end: str

    def to_dict(self) -> Dict[str, Any]:
        return {"from": self.begin, "to": self.end}

    @classmethod
    def from_dict(cls, data: Any) -> Period:
        given = _object(data, "period", ("from", "to"))
        if parsed(given["from"]) >= parsed(given["to"]):
            raise _bad(f"the period ends at {given['to']}, not after its begin {given['from']}")
        return cls(given["from"], given["to"])

    def epochs(self) -> List[float]:
        """Its two ends in seconds since 1970."""
        return [parsed(self.begin).timestamp(), parsed(self.end).timestamp()]


@dataclass(frozen=True)
class File:
    """A file of a source.

    :param path: relative to the staging folder
    :param size: in bytes, as it lies there
    :param records: how many of the source's records are in it
    """

    path: str
    size: int
    sha256: str
    records: int

    @classmethod
    def from_dict(cls, data: Any) -> File:
        given = _object(data, "file", _names(cls))
        if not safe_path(given["path"]):
            raise _bad(f"{str(given['path'])[:80]!r} is not the path of a file below the staging folder")
        if type(given["sha256"]) is not str or not _DIGEST.fullmatch(given["sha256"]):
            raise _bad(f"{given['path']} has no SHA-256")
        return cls(given["path"], _count(given, "size"), given["sha256"], _count(given, "records"))


@dataclass(frozen=True)
class Count:
    """One of the two counts of a source's records.

    :param by: how it was counted
    """

    by: str
    records: int

    @classmethod
    def from_dict(cls, data: Any) -> Count:
        given = _object(data, "count", _names(cls))
        return cls(_text(given, "by", needed=True), _count(given, "records"))


@dataclass(frozen=True)
class Gap:
    """A part of the period that the source does not cover, or may not cover."""

    begin: str
    end: str
    reason: str

    def to_dict(self) -> Dict[str, Any]:
        return {"from": self.begin, "to": self.end, "reason": self.reason}

    @classmethod
    def from_dict(cls, data: Any) -> Gap:
        given = _object(data, "gap", ("from", "to", "reason"))
        if parsed(given["from"]) > parsed(given["to"]):
            raise _bad(f"a gap ends at {given['to']}, before its begin {given['from']}")
        return cls(given["from"], given["to"], _text(given, "reason", needed=True))


@dataclass(frozen=True)
class Tool:
    """The program that gave a source out, and its version."""

    name: str
    version: str

    @classmethod
    def from_dict(cls, data: Any) -> Tool:
        given = _object(data, "tool", _names(cls))
        return cls(_text(given, "name", needed=True), _text(given, "version"))


@dataclass
class Source:
    """One source of a host.

    :param outcome: complete only when nothing was skipped, both counts agree and there are records, or none declared
    :param reason: a plain sentence when it is not complete
    :param command: the exact arguments, or the SQL text as its only element
    :param exit_status: None where no program ran
    :param counts: two that do not depend on each other
    :param redactions: how often each rule replaced something; filled by redact
    """

    name: str
    kind: str
    outcome: str
    reason: str = ""
    files: List[File] = field(default_factory=list)
    command: List[str] = field(default_factory=list)
    tool: Tool = field(default_factory=lambda: Tool("python", ""))
    exit_status: Optional[int] = None
    records: int = 0
    counts: List[Count] = field(default_factory=list)
    gaps: List[Gap] = field(default_factory=list)
    redactions: Dict[str, int] = field(default_factory=dict)

    def concluded(self, problems: List[str]) -> Source:
        """Itself with its outcome, by its problems and gaps; of many problems, the first five are its reason."""
        if self.gaps:
            problems = [*problems, f"{plural(len(self.gaps), 'gap')}, the first: {self.gaps[0].reason}"]
        if not problems:
            self.outcome = COMPLETE
            return self
        self.outcome = PARTIAL if self.records else FAILED
        rest = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        self.reason = f"{'; '.join(problems[:5])}{rest}."
        return self

    def miscounted(self, empty_ok: bool) -> List[str]:
        """What is wrong with its counts: they differ, or there is nothing, which was not declared as well."""
        problems = []
        if len({count.records for count in self.counts} | {self.records}) > 1:
            shown = ", ".join(f"{count.by}: {count.records}" for count in self.counts)
            problems.append(f"the counts differ ({shown})")
        if not self.records and not empty_ok:
            problems.append("there are no records, and that was not declared as well")
        return problems

    def to_dict(self) -> Dict[str, Any]:
        return {**asdict(self), "gaps": [gap.to_dict() for gap in self.gaps]}

    @classmethod
    def from_dict(cls, data: Any) -> Source:
        given = _object(data, "source", _names(cls))
        name = given["name"]
        if type(name) is not str or not _SOURCE.fullmatch(name) or name in (".", ".."):
            raise _bad(f"{str(name)[:80]!r} is not a source's name: small letters, digits and _.- only")
        _word(given, "kind", KINDS)
        _word(given, "outcome", OUTCOMES)
        status = given["exit_status"]
        if status is not None and type(status) is not int:
            raise _bad(f"the exit status of {name} is not a number")
        command = _list(given, "command")
        if not all(type(each) is str for each in command):
            raise _bad(f"the command of {name} is not a list of texts")
        redactions = given["redactions"]
        if type(redactions) is not dict or not all(type(rule) is str and rule for rule in redactions):
            raise _bad(f"the redactions of {name} are not a count for each rule")
        source = cls(
            name=name,
            kind=given["kind"],
            outcome=given["outcome"],
            reason=_text(given, "reason"),
            files=[File.from_dict(each) for each in _list(given, "files")],
            command=command,
            tool=Tool.from_dict(given["tool"]),
            exit_status=status,
            records=_count(given, "records"),
            counts=[Count.from_dict(each) for each in _list(given, "counts")],
            gaps=[Gap.from_dict(each) for each in _list(given, "gaps")],
            redactions={rule: _count(redactions, rule) for rule in redactions},
        )
        source.check()
        return source

    def check(self) -> None:
        """What it says must agree with itself.

        :raises EvidenceError: complete, but a count differs or is missing, or a gap is named
        """
        if sum(file.records for file in self.files) != self.records:
            raise _bad(f"the files of {self.name} do not have the {self.records} records that it is said to have")
        if self.outcome != COMPLETE:
            if not self.reason:
                raise _bad(f"{self.name} is {self.outcome}, and no reason is given")
            return
        if self.reason or self.gaps or self.exit_status:
            raise _bad(f"{self.name} is said to be complete, but has a reason, a gap or a failed program")
        if len({count.by for count in self.counts}) < 2 or any(count.records != self.records for count in self.counts):
            raise _bad(f"{self.name} is said to be complete, but no two counts agree that it is")


@dataclass
class Collected:
    """What was collected of one host."""

    host: str
    period: Period
    collector: Tool
    sources: List[Source] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        return {
            "version": VERSION,
            "host": self.host,
            "period": self.period.to_dict(),
            "collector": asdict(self.collector),
            "sources": [source.to_dict() for source in self.sources],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Collected:
        """What to_dict wrote.

        :raises EvidenceError: anything is missing, unknown, or contradicts the rest
        """
        given = _object(data, "collection", ("version", "host", "period", "collector", "sources"))
        if type(given["version"]) is not int or given["version"] != VERSION:
            raise _bad(f"its version is {str(given['version'])[:20]}; this collection knows version {VERSION}")
        if type(given["host"]) is not str or not _HOST.fullmatch(given["host"]):
            raise _bad(f"{str(given['host'])[:80]!r} is not a host's name")
        result = cls(
            host=given["host"],
            period=Period.from_dict(given["period"]),
            collector=Tool.from_dict(given["collector"]),
            sources=[Source.from_dict(each) for each in _list(given, "sources")],
        )
        _once([source.name for source in result.sources], "source")
        _once([file.path for source in result.sources for file in source.files], "file")
        return result


def encoded(collected: Collected) -> bytes:
    """The text of collected.json: the same content gives the same bytes."""
    return (json.dumps(collected.to_dict(), sort_keys=True, indent=1) + "\n").encode("ascii")


def decoded(text: bytes) -> Collected:
    """Reads collected.json.

    :raises EvidenceError: see Collected.from_dict; or it is not JSON, or names something twice
    """
    try:
        data = json.loads(text.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise _bad("it is not JSON") from None
    return Collected.from_dict(data)


def _pairs(pairs: List[Any]) -> Dict[str, Any]:
    _once([name for name, _value in pairs], "name")
    return dict(pairs)


def _constant(text: str) -> Any:
    raise ValueError(text)


def _bad(text: str) -> EvidenceError:
    return EvidenceError(
        f"What was collected cannot be used: {text}.", "Collect again with this version of the collection."
    )


def _names(of: Type[_T]) -> List[str]:
    return [each.name for each in fields(of)]  # type: ignore[arg-type]


def _object(data: Any, what: str, names: Any) -> Dict[str, Any]:
    if type(data) is not dict:
        raise _bad(f"a {what} is not an object")
    for name in names:
        if name not in data:
            raise _bad(f"a {what} lacks {name}")
    for name in data:
        if name not in names:
            raise _bad(f"a {what} has {str(name)[:60]!r}, which is unknown")
    return data


def _word(given: Dict[str, Any], name: str, known: Any) -> None:
    if type(given[name]) is not str or given[name] not in known:
        raise _bad(f"{name} is {str(given[name])[:60]!r}, not one of {', '.join(known)}")


def _text(given: Dict[str, Any], name: str, needed: bool = False) -> str:
    value = given[name]
    if type(value) is not str or (needed and not value):
        raise _bad(f"{name} is not a text")
    return value


def _count(given: Dict[str, Any], name: str) -> int:
    value = given[name]
    if type(value) is not int or value < 0:
        raise _bad(f"{name} is not a count")
    return value


def _list(given: Dict[str, Any], name: str) -> List[Any]:
    value = given[name]
    if type(value) is not list:
        raise _bad(f"{name} is not a list")
    return value


def _once(names: List[str], what: str) -> None:
    twice = sorted({str(name) for name in names if names.count(name) > 1}) if len(names) != len(set(names)) else []
    if twice:
        raise _bad(f"the {what} {twice[0][:80]!r} is there twice")


#: What collects. The version is galaxy.yml's.
COLLECTOR = Tool("tradingflow.maintenance", "0.1.0")
