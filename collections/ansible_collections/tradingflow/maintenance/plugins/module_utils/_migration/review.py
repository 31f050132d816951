# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The review sheet: what is dangerous about the SQL, crossed with how large and how busy the tables are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._postgres.sql import NotUnderstood
from ..checks import CRITICAL, OK, WARNING, Check
from ..errors import MaintenanceError
from ..words import human, plural, printable
from .dangers import ADVICE, BRIEF, NEVER, USERS, Danger, dangers
from .phases import EXPAND
from .reading import may_write
from .tokens import changes_rows, split

ALLOW, WINDOW, REFUSE = "allow", "only in a window", "refuse"
_ORDER = (ALLOW, WINDOW, REFUSE)


def sheet(
    pending: list[dict[str, Any]],
    facts: dict[str, Any],
    limits: dict[str, Any],
    find: Callable[[str], list[Danger]] = dangers,
) -> dict[str, Any]:
    """The rows of all revisions, and those whose SQL is not known beforehand.

    :param pending: see engine.plan
    :param facts: tables (schema, name, bytes, writes_per_second), longest_transaction_seconds, and what
        reading.py wants, see facts.py
    :param limits: small_bytes, large_bytes, busy_writes, long_transaction
    :returns: rows (revision, rule, verdict, statement, tables, message, instead), unseen, and captured: those
        of which is known only what they run on an empty database
    :raises MaintenanceError: the SQL cannot be judged
    """
    rows: list[dict[str, Any]] = []
    unseen: list[str] = []
    seen: list[str] = []
    for entry in pending:
        ours = [] if entry["sql"] is None else _judged(entry, entry["sql"], facts, limits, find)
        # What it runs on an empty database is not all that it runs on a full one, but more than nothing; and it may
        # be something else than what alembic writes without one.
        captured = entry.get("captured")
        try:
            ran = [] if captured is None else _judged(entry, captured, facts, limits, find)
        except MaintenanceError:
            captured, ran = None, []
            if entry["sql"] is not None:
                unseen.append(entry["revision"])
        if entry["sql"] is None:
            (unseen if captured is None else seen).append(entry["revision"])
        known = [(row["rule"], row["verdict"], row["tables"]) for row in ours]
        rows += ours + [row for row in ran if (row["rule"], row["verdict"], row["tables"]) not in known]
    return {"rows": rows, "unseen": unseen, "captured": seen}


def _judged(
    entry: dict[str, Any],
    text: str,
    facts: dict[str, Any],
    limits: dict[str, Any],
    find: Callable[[str], list[Danger]],
) -> list[dict[str, Any]]:
    """The rows of one text of a revision."""
    found = find(text)
    rows = _mixed(entry["revision"], text, facts)
    for danger in found:
        known = [_fact(facts, name) for name in danger.tables]
        wrong = entry.get("phase") == EXPAND and danger.how == USERS
        rows.append(
            {
                "revision": entry["revision"],
                "rule": danger.rule,
                "verdict": REFUSE if wrong else verdict(danger, known, facts, limits),
                "statement": printable(" ".join(danger.statement.split()), 300),
                "tables": [_shown(name, fact) for name, fact in zip(danger.tables, known, strict=True)],
                "message": f"In a revision marked expand: {danger.message}" if wrong else danger.message,
                "instead": "Move it into a revision of its own with phase = 'contract'." if wrong else danger.instead,
            }
        )
    return rows


def _mixed(revision: str, sql: str, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """A row where an autocommit_block commits what stands before it in the revision."""
    try:
        kept, outside = split(sql)
    except NotUnderstood:
        return []
    twice = [each for each in [*kept, *outside] if changes_rows(each) or may_write(each, facts)]
    if not outside or not (kept or twice):
        return []
    text = "An autocommit_block commits it before the revision is done: ended in between, it"
    return [
        {
            "revision": revision,
            "rule": "mixed-with-autocommit",
            "verdict": REFUSE if twice else WINDOW,
            "statement": printable((twice or kept)[0], 300),
            "tables": [],
            "message": f"{text} is carried out twice, and may change something twice."
            if twice
            else f"{text} cannot be run again.",
            "instead": "Change rows, or call functions that may, in a revision without an autocommit_block."
            if twice
            else "Give what runs outside a transaction a revision of its own.",
        }
    ]


def _fact(facts: dict[str, Any], name: tuple[str, str]) -> dict[str, Any] | None:
    """What is known of a table; of several of a name without a schema, the largest."""
    found = [each for each in facts["tables"] if each["name"] == name[1] and name[0] in ("", each["schema"])]
    return max(found, key=lambda each: int(each["bytes"])) if found else None


def verdict(danger: Danger, known: list[dict[str, Any] | None], facts: dict[str, Any], limits: dict[str, Any]) -> str:
    """Allow, only in a window, or refuse; a table of which nothing is known may be of any size."""
    if danger.how == ADVICE:
        return ALLOW
    if danger.how == NEVER:
        return REFUSE
    if danger.how == USERS:
        return WINDOW
    longest = facts["longest_transaction_seconds"]
    waits = longest is None or longest > limits["long_transaction"]
    if danger.how == BRIEF:
        return WINDOW if waits else ALLOW
    tables = [fact for fact in known if fact is not None]
    if not tables or len(tables) < len(known):
        return WINDOW
    if any(fact["bytes"] >= limits["large_bytes"] for fact in tables):
        return REFUSE
    rates = [fact["writes_per_second"] for fact in tables]
    busy = any(rate is None or rate >= limits["busy_writes"] for rate in rates)
    small = all(fact["bytes"] <= limits["small_bytes"] for fact in tables)
    return ALLOW if small and not busy and not waits else WINDOW


def _shown(name: tuple[str, str], fact: dict[str, Any] | None) -> str:
    text = printable(".".join(part for part in name if part), 100)
    if fact is None:
        return f"{text} (size not known)"
    rate = fact["writes_per_second"]
    return f"{text} ({human(fact['bytes'])}, {'?' if rate is None else f'{rate:.1f}'} writes/s)"


def checks(review: dict[str, Any], accepted: list[str]) -> list[Check]:
    """The sheet in the report: one check for each rule of a revision that is not simply allowed, and one for all.

    :param accepted: rules that somebody takes upon himself
    """
    rows = review["rows"]
    found = [
        Check(
            "migration.review",
            "Review of the SQL",
            WARNING if review["unseen"] or review["captured"] else OK,
            len(rows),
            message=_told(review),
            remedy="Read those revisions: what they will run is not known beforehand."
            if review["unseen"] or review["captured"]
            else "",
            details={"rows": rows[:100]},
        )
    ]
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["verdict"] != ALLOW:
            grouped.setdefault((row["revision"], row["rule"]), []).append(row)
    for (revision, rule), group in grouped.items():
        worst = max(group, key=lambda row: _ORDER.index(row["verdict"]))
        refused = worst["verdict"] == REFUSE and rule not in accepted
        text = f"{revision}: {worst['message']} {worst['verdict'].capitalize()}: {worst['statement']}"
        text += f" [{', '.join(worst['tables'])}]" if worst["tables"] else ""
        text += " Accepted, for the reason on the record." if worst["verdict"] == REFUSE and not refused else ""
        found.append(
            Check(
                f"migration.review:{revision}:{rule}",
                "Dangerous statement",
                CRITICAL if refused else WARNING,
                len(group),
                message=text,
                remedy=worst["instead"] or "See whether it can be written without this.",
                details={"rows": group[:20]},
            )
        )
    return found


def refused(review: dict[str, Any], accepted: list[str]) -> list[str]:
    """Rules that forbid the migration."""
    return sorted({row["rule"] for row in review["rows"] if row["verdict"] == REFUSE} - set(accepted))


def _told(review: dict[str, Any]) -> str:
    counts = {word: sum(row["verdict"] == word for row in review["rows"]) for word in _ORDER}
    text = f"{plural(len(review['rows']), 'remark')}"
    text += f": {', '.join(f'{count} {word}' for word, count in counts.items() if count)}." if review["rows"] else "."
    text += f" Not seen: {', '.join(review['unseen'])}." if review["unseen"] else ""
    return text + (f" Seen on an empty database only: {', '.join(review['captured'])}." if review["captured"] else "")
