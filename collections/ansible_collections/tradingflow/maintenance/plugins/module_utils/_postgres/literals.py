# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Literals in a dump for which whoever makes the object evaluates somebody else's domain.

PostgreSQL reads a literal of an array, composite or range when it parses the statement, and checks the domains in it;
one of a domain itself only when it is used.
"""

from __future__ import annotations

import re
from typing import Dict, List, Set, Tuple

from ..words import printable
from .toc import ROWS, Contents, Entry

_PART = r'"(?:[^"]|"")+"|[^\W\d][\w$]*'
# As the server writes a literal and its type, with a schema where it is not PostgreSQL's own. Wherever it stands: what
# only looks like one is one too many.
_LITERAL = re.compile(rf"'::({_PART})\.({_PART})((?:\(\d+\))?(?:\[\])*)")
_MULTIRANGE = re.compile(rf"multirange_type_name = ({_PART})\.({_PART})")
#: What has a type with others in it.
_TYPES = ("TYPE", "DOMAIN", "TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE")
_FUNCTIONS = ("FUNCTION", "PROCEDURE")
#: What helps.
GIVE = "Give these domains to a superuser in the source (ALTER DOMAIN ... OWNER TO), or drop the literals, and make a"
GIVE += " new backup"
#: Has no values.
_EMPTY = "'{}'"

Name = Tuple[str, str]


def of_others(contents: Contents, others: Set[str]) -> str:
    """What forbids to restore it, empty for nothing; see evaluated."""
    found = evaluated(contents, others)
    if not found:
        return ""
    text = "A superuser would evaluate CHECK constraints of domains that others own, in literals of arrays, composites"
    return f"{text} or ranges: {printable(', '.join(found), 600)}."


def evaluated(contents: Contents, others: Set[str]) -> List[str]:
    """What has such literals: kind and name.

    :param others: owners whose domains are meant
    """
    entries = contents.entries
    late = {need for each in entries if each.kind == "CHECK CONSTRAINT" for need in each.needs}
    domains = {each.number for each in entries if each.kind == "DOMAIN" and each.owner in others}
    domains = {each.number for each in entries if each.number in domains and _checked(each, late)}
    over = _over(entries, domains)
    if not over and not domains:
        return []
    #: By name: whether a literal of it, and not only of an array of it, checks anything.
    types: Dict[Name, bool] = {}
    for each in entries:
        if each.number in domains | over and each.kind in _TYPES:
            types[each.schema, each.name] = each.number in over
            for parts in _MULTIRANGE.findall(each.definition):
                types[_plain(parts[0]), _plain(parts[1])] = True
    return sorted({f"{each.kind} {each.schema}.{each.name}" for each in entries if _has(each, types)})


def _checked(domain: Entry, late: Set[int]) -> bool:
    return "CHECK" in domain.definition.upper() or domain.number in late


def _over(entries: List[Entry], domains: Set[int]) -> Set[int]:
    """Numbers of types with domains in them, at any depth."""
    found: Set[int] = set()
    while True:
        more = {each.number for each in entries if each.kind in _TYPES and (found | domains).intersection(each.needs)}
        if more <= found:
            return found
        found |= more


def _has(entry: Entry, types: Dict[Name, bool]) -> bool:
    if entry.kind in (ROWS, "COMMENT"):
        return False
    text = _parsed(entry)
    for found in _LITERAL.finditer(text):
        if text[: found.start() + 1].endswith(_EMPTY) and text[: found.start() - 3][-1:] != "'":
            continue
        name = _plain(found[1]), _plain(found[2])
        if name in types and (types[name] or found[3].endswith("]")):
            return True
    return False


def _parsed(entry: Entry) -> str:
    """What is parsed when it is made: not a function's body between the last two marks, which nothing is after."""
    text = entry.definition.rstrip("; \n")
    if entry.kind not in _FUNCTIONS or not text.endswith("$"):
        return entry.definition
    mark = text[text.rfind("$", 0, -1) :]
    return text[: max(0, text.rfind(mark, 0, -len(mark)))]


def _plain(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part
