# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit trail of trading: a chain that is whole, with an entry for every order, cancel and change of a limit."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from .._checks.sql import NotMeasured, Probe, Row
from ..checks import CRITICAL, OK, UNKNOWN, Check
from ..words import plural
from .judging import firsts, probe, refuse_empty, refuse_strange, status_of, told, words_sql

#: What an entry of the trail is about; "other" is a part of the chain, and no activity of trading.
EVENTS = ("order", "cancel", "limit", "other")
ORDER_STATUSES = ("open", "filled", "cancelled", "rejected", "expired")

TRAIL = {
    "trading_audit": {
        "entry_id": "exact",
        "at": "time",
        "actor": "text",
        "event": "text",
        "object": "text",
        "details": "text",
        "hash": "text",
    }
}
LOG = {
    "audit_log": {
        "entry_id": "exact",
        "at": "time",
        "actor": "text",
        "action": "text",
        "object": "text",
        "details": "text",
        "previous_hash": "text",
        "hash": "text",
    }
}

#: A line feed within a field could be moved to the next one without a change of the hash. The last may have them.
CHAIN = """
WITH links AS (
    SELECT *, lag(hash, 1, repeat('0', 64)) OVER (ORDER BY entry_id) AS before,
        lag(at) OVER (ORDER BY entry_id) AS earlier,
        lag(entry_id) OVER (ORDER BY entry_id) AS preceding
    FROM maintenance.{view}), judged AS (
    SELECT entry_id, hash, at < earlier AS backwards, entry_id = preceding AS twice, {word} AS word,
        num_nulls(entry_id, at, actor, {word}, object, details, hash) > 0 OR NOT isfinite(at)
        OR strpos(concat(actor, {word}, object), chr(10)) > 0 AS unclear,
        {previous}hash IS DISTINCT FROM encode(sha256(convert_to(concat_ws(chr(10), before, entry_id::text,
            to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), actor, {word}, object, details),
            'UTF8')), 'hex') AS broken
    FROM links)
SELECT count(*) AS entries,
    count(*) FILTER (WHERE broken) AS broken, min(entry_id) FILTER (WHERE broken) AS first_broken,
    count(*) FILTER (WHERE unclear) AS unclear, count(*) FILTER (WHERE backwards) AS backwards,
    count(*) FILTER (WHERE twice) AS twice, count(*) FILTER (WHERE {strange}) AS strange,
    max(entry_id) AS head, (array_agg(hash ORDER BY entry_id DESC))[1] AS head_hash,
    max(hash) FILTER (WHERE entry_id = %({remembered})s) AS remembered
FROM judged
"""

REPAIR = "Find out who wrote, changed or deleted entries; compare them with a restored recovery point. Change nothing."


def chain(id: str, view: str, views: Dict[str, Dict[str, str]], word: str, strange: str) -> Probe:
    """The control of a chain of hashes.

    :param word: the column that says what an entry is about
    :param strange: SQL, whether its word is not known
    """
    remembered = f"{view}_entry"

    def judge(row: Row, given: Row) -> Check:
        refuse_empty(row["entries"], view, "no entry")
        known = given.get(view) or {}
        details = {"entries": row["entries"], "head": {"entry_id": int(row["head"]), "hash": row["head_hash"]}}
        wrong = {name: row[name] for name in ("broken", "unclear", "backwards", "twice") if row[name]}
        # The end of a chain that is not what it was is not what the next report is to look for.
        kept = {**details, "head": dict(known)} if known else details
        if known and row["remembered"] != known["hash"]:
            what = "is gone" if row["remembered"] is None else "was changed"
            text = f"Entry {known['entry_id']}, which the last report saw at the end of the chain, {what}."
            return told(id, CRITICAL, row["entries"], text, REPAIR, details={**kept, **wrong, "seen": known})
        if row["broken"] or row["twice"]:
            bad = plural(row["broken"] + row["twice"], "link does not hold", "links do not hold")
            text = f"Of the chain of {plural(row['entries'], 'entry', 'entries')}, {bad}"
            text += f", the first at entry {row['first_broken']}." if row["first_broken"] is not None else "."
            return told(id, CRITICAL, row["entries"], text, REPAIR, details={**kept, **wrong})
        if row["unclear"]:
            text = (
                f"{plural(row['unclear'], 'entry', 'entries')} cannot be proven: a field is empty (NULL), its time is"
            )
            text += " infinite, or a field before the last has a line feed."
            return told(id, UNKNOWN, None, text, "Let the platform write such fields escaped.", details=details)
        refuse_strange(row["strange"], "entries", view, word, EVENTS)
        text = f"All {plural(row['entries'], 'entry', 'entries')} follow on one another."
        if not known and view in given["ends_unknown"]:
            text += " Whether some were cut off at the end is not known: the ledger does not tell where an earlier"
            text += " report saw it, or could not be read."
            remedy = "See compliance.ledger and docs/evidence.md; compare the end with an audit bundle."
            return told(id, UNKNOWN, None, text, remedy, details={**details, **wrong})
        if row["backwards"]:
            text += f" {plural(row['backwards'], 'entry is', 'entries are')} older than the one before."
            remedy = "Look at time synchronisation of what writes the trail."
            return told(id, status_of(0, 1), row["entries"], text, remedy, details={**details, **wrong})
        if not known:
            text += " That none was cut off at the end is seen from the next report on."
        return told(id, OK, row["entries"], text, details=details)

    sql = CHAIN.format(
        view=view,
        word=word,
        strange=strange,
        remembered=remembered,
        previous="previous_hash IS DISTINCT FROM before OR " if view == "audit_log" else "",
    )
    return probe(id, sql, judge, views)


ENTRIES = """
WITH entries AS MATERIALIZED (
    SELECT object, count(*) AS entries, min(at) AS at FROM maintenance.trading_audit
    WHERE event = '{event}' GROUP BY object), things AS (
    SELECT {key}::text AS key, {at} AS at FROM maintenance.{view} WHERE {where}), compared AS (
    SELECT t.key, t.at, e.object, e.entries, e.at AS entered,
        e.object IS NULL AS missing, t.key IS NULL AS orphan,
        abs(extract(epoch FROM e.at - t.at)) > %(trail_tolerance)s AS apart
    FROM things t FULL JOIN entries e ON e.object = t.key)
SELECT (SELECT count(*) FROM things) AS things, (SELECT count(*) FROM maintenance.{view} WHERE {strange}) AS strange,
    count(*) FILTER (WHERE missing) AS missing, count(*) FILTER (WHERE orphan) AS orphans,
    count(*) FILTER (WHERE entries > 1) AS repeated,
    count(*) FILTER (WHERE NOT missing AND NOT orphan AND apart IS NOT FALSE) AS apart,
    (array_agg(key ORDER BY at DESC) FILTER (WHERE missing))[1:10] AS first_missing,
    (array_agg(object ORDER BY entered DESC) FILTER (WHERE orphan))[1:10] AS first_orphans
FROM compared
"""


def entries(event: str, noun: str, view: str, key: str, at: str, where: str = "true", strange: str = "false") -> Probe:
    """The control that each of something has its entry."""
    id = f"compliance.audit_trail_{noun}s"

    def judge(row: Row, _given: Row) -> Check:
        refuse_strange(row["strange"], "rows", view, "status", ORDER_STATUSES)
        if not row["things"] and not row["orphans"]:
            raise NotMeasured(f"there is no {noun}.", f"Let the view maintenance.{view} have all of them.")
        found: Tuple[Tuple[str, str, Any], ...] = (
            ("missing", f"{noun} has no entry|{noun}s have no entry", row["missing"]),
            ("orphans", f"entry is of no {noun} that is there|entries are of no {noun} that is there", row["orphans"]),
            ("apart", f"entry is of another time|entries are of another time than their {noun}", row["apart"]),
            ("repeated", f"{noun} has several entries|{noun}s have several entries", row["repeated"]),
        )
        wrong = [(name, plural(count, *text.split("|"))) for name, text, count in found if count]
        details = {
            **{name: row[name] for name, _text in wrong},
            "first": firsts(row["first_missing"]) or firsts(row["first_orphans"]),
        }
        if not wrong:
            text = f"Each of {plural(row['things'], noun)} has its entry."
            return told(id, OK, row["things"], text, details={"checked": row["things"]})
        text = f"Of {plural(row['things'], noun)}: " + "; ".join(text for _name, text in wrong) + "."
        remedy = "Find out what placed, changed or deleted them past the audit trail; ask the venue for its record."
        worst = status_of(row["missing"] or row["orphans"], True)
        return told(id, worst, row["missing"] + row["orphans"], text, remedy, details=details)

    sql = ENTRIES.format(event=event, view=view, key=key, at=at, where=where, strange=strange)
    needed = {"order_id": "id", "status": "text", at: "time"} if view == "orders" else {key: "id", at: "time"}
    return probe(id, sql, judge, {**TRAIL, view: needed})


def limits() -> Probe:
    """The control that the last change of each limit has its entry. Earlier ones are in the trail only."""
    id = "compliance.audit_trail_limits"
    sql = """
WITH newest AS (
    SELECT object, max(at) AS at FROM maintenance.trading_audit WHERE event = 'limit' GROUP BY object), judged AS (
    SELECT l.limit_id, l.updated_at, n.object, l.limit_id IS NULL AS orphan, l.limit_id IS NOT NULL
        AND (abs(extract(epoch FROM n.at - l.updated_at)) <= %(trail_tolerance)s) IS NOT TRUE AS missing
    FROM maintenance.risk_limits l FULL JOIN newest n ON n.object = l.limit_id::text)
SELECT count(limit_id) AS things, count(*) FILTER (WHERE missing) AS missing,
    count(*) FILTER (WHERE orphan) AS orphans,
    (array_agg(limit_id ORDER BY updated_at DESC) FILTER (WHERE missing))[1:10] AS first_missing,
    (array_agg(object ORDER BY object) FILTER (WHERE orphan))[1:10] AS first_orphans
FROM judged
"""

    def judge(row: Row, _given: Row) -> Check:
        refuse_empty(row["things"], "risk_limits", "no limit")
        if row["orphans"] and not row["missing"]:
            text = f"{plural(row['orphans'], 'limit')} of the audit trail no longer exist."
            remedy = "Find out who deleted them, and put it on record; switch limits off instead of deleting them."
            details = {"orphans": row["orphans"], "first": firsts(row["first_orphans"])}
            return told(id, status_of(0, True), row["orphans"], text, remedy, details=details)
        if not row["missing"]:
            text = f"The last change of each of {plural(row['things'], 'limit')} has its entry."
            return told(id, OK, row["things"], text)
        text = f"The last change of {row['missing']:,} of {plural(row['things'], 'limit')} has no entry of its time"
        text += ", or has a later one."
        remedy = "Find out who changed the limit, and put it on record."
        details = {"missing": row["missing"], "first": firsts(row["first_missing"])}
        return told(id, CRITICAL, row["missing"], text, remedy, details=details)

    return probe(id, sql, judge, {**TRAIL, "risk_limits": {"limit_id": "id", "updated_at": "time"}})


PROBES = (
    chain("compliance.audit_trail_chain", "trading_audit", TRAIL, "event", words_sql("word", EVENTS)),
    entries("order", "order", "orders", "order_id", "created_at"),
    entries(
        "cancel",
        "cancel",
        "orders",
        "order_id",
        "closed_at",
        "status = 'cancelled'",
        words_sql("status", ORDER_STATUSES),
    ),
    limits(),
    chain("compliance.audit_log_chain", "audit_log", LOG, "action", "false"),
)
