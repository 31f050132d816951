# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests found, by the log that they leave: JUnit's XML, or TAP. Nothing is taken from words around them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterator, List, Optional, Tuple
from xml.etree import ElementTree

from ..words import plural, printable

#: Names that are kept.
_MOST_NAMES = 20
_VERSION = re.compile(r"TAP version \d+")
_PLAN = re.compile(r"1\.\.(\d{1,6})(?:\s*#.*)?")
_TEST = re.compile(r"(not )?ok\b(?:[ \t]+(\d{1,6}))?(?:[ \t]+-)?[ \t]*(.*)")
_DIRECTIVE = re.compile(r"(?<!\\)#[ \t]*(skip|todo)\b", re.IGNORECASE)
#: By the letter, where it excuses a test that failed: a name may have a "#".
_EXCUSE = re.compile(r"(?:^|[ \t])#[ \t]+(skip|todo)\b", re.IGNORECASE)
#: Words by which some say how a test ended, beside what the format has for it.
_WELL = ("run", "completed", "passed", "pass", "ok", "success", "successful")
_BADLY = ("fail", "failed", "failure", "error", "broken", "timeout")
_NOT_RUN = ("notrun", "disabled", "suppressed", "skipped", "skip", "ignored", "pending", "todo")
_ASIDE = re.compile(r"<!--|<!\[CDATA\[")
#: Levels of elements.
_DEEPEST = 50
_SUITE = re.compile(r"<testsuites?[\s>/]")
_END = re.compile(r"</testsuites?>|<testsuites?\b[^<>]*/>")


@dataclass
class Results:
    """What is counted.

    :param total: tests that were to be run; passed, failed and skipped ones are those that say so
    :param failed: their names, as far as they are kept
    :param problem: why it does not count as a whole result; empty when it does
    """

    total: int = 0
    passed: int = 0
    failures: int = 0
    skipped: int = 0
    failed: List[str] = field(default_factory=list)
    problem: str = ""

    def fails(self, name: str) -> None:
        """Counts one that failed."""
        self.failures += 1
        if len(self.failed) < _MOST_NAMES:
            self.failed.append(printable(name or "(no name)", 160))

    def said(self) -> str:
        """In words."""
        text = f"{self.passed} of {plural(self.total, 'test')} passed"
        if self.failures:
            text += f", {self.failures} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def results(log: str) -> Optional[Results]:
    """The results in a log; None when there are none.

    :param log: as the tests wrote it, without times before its lines
    """
    if _SUITE.search(log):
        found, rest = _junit(log)
        # Other suites of the same command may tell by TAP.
        beside = results(rest)
        return found if beside is None else _of([found, beside])
    lines = log.replace("\r\n", "\n").split("\n")
    begins = [number for number, line in enumerate(lines) if _VERSION.fullmatch(line.rstrip())]
    first = lines[: begins[0]] if begins else lines
    parts = [_tap(first)] if any(_PLAN.fullmatch(line.rstrip()) for line in first) else []
    ends = [*begins[1:], len(lines)]
    parts += [_tap(lines[begin + 1 : ends[number]]) for number, begin in enumerate(begins)]
    if not parts:
        return None
    return _of(parts) if len(parts) > 1 else parts[0]


def _of(parts: List[Results]) -> Results:
    """Several results one after the other, as of several suites: all of them count."""
    whole = Results()
    for one in parts:
        whole.total += one.total
        whole.passed += one.passed
        whole.failures += one.failures
        whole.skipped += one.skipped
        whole.failed = [*whole.failed, *one.failed][:_MOST_NAMES]
        whole.problem = whole.problem or one.problem
    return whole


def _tap(lines: List[str]) -> Results:
    """TAP 13 and 14. Indented lines are subtests and explanations; the line after them counts."""
    found = Results()
    plans: List[int] = []
    numbers: List[int] = []
    told: Optional[int] = None
    for line in (each.rstrip() for each in lines):
        if plan := _PLAN.fullmatch(line):
            plans.append(int(plan[1]))
        elif line.lower().startswith("bail out!"):
            found.fails(line)
            found.problem = f"they gave up: {printable(line, 200)}"
        elif test := _TEST.fullmatch(line):
            number = int(test[2]) if test[2] else len(numbers) + 1
            numbers.append(number)
            directive = (_EXCUSE if test[1] else _DIRECTIVE).search(test[3])
            name = f"{number} {test[3]}".strip()
            told = None
            if directive and directive[1].lower() == "skip":
                found.skipped += 1
            elif test[1] and directive:
                found.skipped += 1  # a "todo" is expected to fail
            elif test[1]:
                found.fails(name)
                told = len(found.failed) - 1 if found.failures <= _MOST_NAMES else None
            else:
                found.passed += 1
        elif line.startswith("# ") and told is not None:
            # Why, in the words of the one right above.
            found.failed[told] = printable(f"{found.failed[told]} ({line[2:]})", 300)
            told = None
    if len(plans) == 1:
        found.total = plans[0]
    if not found.problem and len(plans) != 1:
        found.problem = "they do not say how many they are" if not plans else "they say twice how many they are"
    elif not found.problem and sorted(numbers) != list(range(1, found.total + 1)):
        found.problem = f"{len(numbers)} of {plural(found.total, 'test')} are told of"
    return found


def _junit(log: str) -> Tuple[Results, str]:
    """JUnit's XML, somewhere in a log; and the log without it."""
    begin, ends = _SUITE.search(log), list(_END.finditer(log))
    if begin is None or not ends or _SUITE.search(log, ends[-1].end()):
        return Results(problem="their XML has no end"), log[: begin.start()] if begin else log
    text, rest = log[begin.start() : ends[-1].end()], log[: begin.start()] + log[ends[-1].end() :]
    # Before the parser sees it: entities could make gigabytes of it.
    if "<!" in _without_asides(text):
        return Results(problem="their XML has declarations, which are not read"), rest
    found = Results()
    try:
        # Several documents one after the other are several suites.
        root = ElementTree.fromstring(f"<all>{re.sub(r'<[?]xml[^<>?]*[?]>', '', text)}</all>")  # noqa: S314
    except ElementTree.ParseError as error:
        return Results(problem=f"their XML is not understood ({printable(error, 80)})"), rest
    if _deep(root):
        return Results(problem=f"their XML is nested more than {_DEEPEST} deep"), rest
    for case in root.iter("testcase"):
        found.total += 1
        kinds = {each.tag for each in case}
        words = {word.strip().lower() for name in ("status", "result") if (word := case.get(name))}
        if kinds & {"failure", "error"} or words & set(_BADLY):
            found.fails(f"{case.get('classname') or ''} {case.get('name') or ''}".strip())
        elif "skipped" in kinds or words & set(_NOT_RUN):
            found.skipped += 1
        elif strange := words - set(_WELL):
            found.problem = f"one has ended in a way that is not known here: {printable(min(strange), 40)}"
        else:
            found.passed += 1
    for suite in (*root.iter("testsuite"), *root.iter("testsuites")):
        if any(each.tag in ("failure", "error") for each in suite):
            found.fails(f"{suite.get('name') or ''} (outside of its tests)".strip())
    found.problem = found.problem or next(_contradictions(root), "")
    return found, rest


def _without_asides(text: str) -> str:
    """XML without its comments and what is quoted whole. One that does not end stays, and all after it."""
    parts, at = [], 0
    while (begin := _ASIDE.search(text, at)) is not None:
        end = text.find("-->" if begin[0] == "<!--" else "]]>", begin.end())
        if end < 0:
            break
        parts.append(text[at : begin.start()])
        at = end + 3
    return "".join([*parts, text[at:]])


def _deep(root: ElementTree.Element) -> bool:
    """Whether it is nested deeper than results are: each suite counts all within it."""
    level = [root]
    for _depth in range(_DEEPEST):
        level = [each for parent in level for each in parent]
        if not level:
            return False
    return True


def _contradictions(root: ElementTree.Element) -> Iterator[str]:
    """Sums of a suite that are not those of its tests."""
    for suite in (*root.iter("testsuite"), *root.iter("testsuites")):
        cases = list(suite.iter("testcase"))
        counted = {
            "tests": len(cases),
            "failures": sum(1 for each in cases if each.find("failure") is not None),
            "errors": sum(1 for each in cases if each.find("error") is not None),
        }
        for name, count in counted.items():
            told = suite.get(name)
            if told is not None and told != str(count):
                yield f"they tell of {printable(told, 20)} {name}, and {count} are there"
