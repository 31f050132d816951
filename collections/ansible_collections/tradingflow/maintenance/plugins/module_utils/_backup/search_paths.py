# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Functions that a restore will call and that will not find what they name: pg_restore works with no search_path.

Rows are loaded, and indexes and materialised views made, only if each function that they call finds others, and tables,
without one. Nothing is run to find that out: their source is read as words.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set

from .._postgres.snapshot import Snapshot

# What is called while a database is restored, by what calls it.
_CALLED = """
SELECT d.refobjid, format('CHECK constraint %I of %s', k.conname,
  CASE WHEN k.conrelid <> 0 THEN k.conrelid::regclass::text ELSE k.contypid::regtype::text END)
FROM pg_depend d JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid AND k.contype = 'c'
WHERE d.refclassid = 'pg_proc'::regclass AND k.convalidated
UNION SELECT d.refobjid, format('generated column %I of %s', a.attname, a.attrelid::regclass)
FROM pg_depend d JOIN pg_attrdef v ON d.classid = 'pg_attrdef'::regclass AND v.oid = d.objid
JOIN pg_attribute a ON (a.attrelid, a.attnum) = (v.adrelid, v.adnum) AND a.attgenerated = 's'
WHERE d.refclassid = 'pg_proc'::regclass
UNION SELECT d.refobjid, format(CASE WHEN c.relkind IN ('i', 'I') THEN 'index %s' ELSE 'partition key of %s' END,
  c.oid::regclass)
FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
WHERE d.refclassid = 'pg_proc'::regclass AND c.relkind IN ('i', 'I', 'p')
UNION SELECT d.refobjid, format('materialized view %s', c.oid::regclass)
FROM pg_depend d JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
JOIN pg_class c ON c.oid = w.ev_class AND c.relkind = 'm' WHERE d.refclassid = 'pg_proc'::regclass
ORDER BY 2, 1"""

# With a search_path of their own, or read when they were made (BEGIN ATOMIC), they find what they name.
_FUNCTIONS = """
SELECT p.oid, p.oid::regprocedure::text, p.proname,
  CASE WHEN l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
    AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%') THEN p.prosrc END
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"""
_SYSTEMS = "SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
_RELATIONS = """
SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
  AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) AND relpersistence <> 't'"""

#: SQL's words. Comments and strings are nobody's names.
_WORDS = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | (\$\w*\$).*?\1
    | "(?P<quoted>(?:[^"]|"")+)" | (?P<plain>[^\W\d][\w$]*) | (?P<sign>\S)""",
    re.DOTALL | re.VERBOSE,
)
#: What a table's name comes after.
_BEFORE_TABLES = ("from", "join")


class _Function(NamedTuple):
    signature: str
    source: Optional[str]


def unfound(snapshot: Snapshot) -> List[str]:
    """What will not be found, in words: by what calls it, and in which function."""
    called = snapshot.rows(_CALLED)
    if not called:
        return []
    functions: Dict[int, _Function] = {}
    by_name: Dict[str, Set[int]] = {}
    for oid, signature, name, source in snapshot.rows(_FUNCTIONS):
        functions[oid] = _Function(signature, source)
        by_name.setdefault(name, set()).add(oid)
    for (name,) in snapshot.rows(_SYSTEMS):
        by_name.pop(name, None)
    relations = {row[0] for row in snapshot.rows(_RELATIONS)}
    found: List[str] = []
    for oid, what in called:
        found += [f"{what}: {text}" for text in _of(oid, functions, by_name, relations)]
    return found


def _of(oid: int, functions: Dict[int, _Function], by_name: Dict[str, Set[int]], relations: Set[str]) -> List[str]:
    """What a function and those that it calls do not find."""
    found, seen, todo = [], {oid}, [oid]
    while todo:
        function = functions.get(todo.pop())
        if function is None or function.source is None:
            continue
        for name, qualified, table in _named(function.source):
            if table and not qualified and name in relations:
                found.append(f"{function.signature} reads {name}")
            elif not table and name in by_name:
                if not qualified:
                    found.append(f"{function.signature} calls {name}")
                todo += sorted(by_name[name] - seen)
                seen |= by_name[name]
    return list(dict.fromkeys(found))


def _named(source: str) -> Iterator[Any]:
    """Names that are called, and those of tables: name, whether its schema is named too, whether it is a table's."""
    tokens = []
    for match in _WORDS.finditer(source):
        if match["quoted"] is not None:
            tokens.append((match["quoted"].replace('""', '"'), True))
        elif match["plain"] is not None:
            tokens.append((match["plain"].lower(), True))
        elif match["sign"] is not None:
            tokens.append((match["sign"], False))
    padded = [("", False), ("", False), *tokens, ("", False)]
    for before, (name, is_name), after in zip(padded[1:], padded[2:], padded[3:]):  # noqa: B905 equal lengths
        if not is_name:
            continue
        if after[0] == "(":
            yield name, before[0] == ".", False
        elif before[0] in _BEFORE_TABLES and after[0] != ".":
            yield name, False, True
