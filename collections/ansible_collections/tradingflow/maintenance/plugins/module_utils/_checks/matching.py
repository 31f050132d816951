# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants of this file; values are parameters.

"""Area trading: our executions and the venues', matched by venue and the venue's id, and their fees in sums."""

from __future__ import annotations

from .breaks import TOLERANCES, key, result, tolerance
from .sql import HAPPENED, Views, finite, readable, scope
from .venue_statements import LINES, STATEMENTS, states

EXECUTION = {
    "venue": "text",
    "account": "text",
    "venue_execution_id": "text",
    "kind": "text",
    "reference": "text",
    "instrument": "text",
    "side": "text",
    "quantity": "exact",
    "price": "exact",
    "fee": "exact",
    "fee_currency": "text",
    "executed_at": "time",
}
EXECUTIONS: Views = {
    **STATEMENTS,
    "executions": EXECUTION,
    "venue_executions": {**LINES["venue_executions"], **EXECUTION},
}
SIDE = "(SELECT true AS present, venue, account, venue_execution_id AS id, kind, reference, instrument, side, "
SIDE += f"quantity, price, fee, fee_currency, executed_at, {scope('e')} AS scope FROM maintenance.{{view}} e) {{name}}"

#: SQL: whether o and t agree in every number and word. Not where one of them is no number.
AGREE = f"""o.quantity = t.quantity AND o.price = t.price AND o.fee = t.fee AND o.kind = t.kind AND o.side = t.side
           AND o.account = t.account AND o.instrument = t.instrument AND o.fee_currency = t.fee_currency
           AND o.reference IS NOT DISTINCT FROM t.reference
           AND {finite("o.quantity")} AND {finite("o.price")} AND {finite("o.fee")}"""

#: What fees are made of.
CHARGED = "venue, id, scope, fee_at, instrument, our_account, venue_account, our_currency, venue_currency, "
CHARGED += "our_fee, venue_fee, "
CHARGED += "here, there, our_kind, venue_kind"

KEY = key("d.venue", "nullif(d.scope, '')", "coalesce(d.id, concat(d.account, d.instrument, d.at))")
TOLD = "d.venue, d.account, d.id, d.instrument, d.at, d.our_kind, d.venue_kind, d.our_quantity::text, "
TOLD += "d.venue_quantity::text, d.our_price::text, d.venue_price::text, d.our_fee::text, d.venue_fee::text, "
TOLD += f"{KEY} AS key"

#: What one side has alone agrees with what the other has alone, but for the venue's id.
ALIKE = "account, instrument, side, kind, quantity, price"
POSSIBLE = """, (SELECT o.id FROM alone o, alone d
                   WHERE (d.venue, d.account, d.id, d.instrument, d.at, d.here)
                         IS NOT DISTINCT FROM (b.venue, b.account, b.id, b.instrument, b.at, b.here)
                     AND o.here IS DISTINCT FROM d.here AND b.possible
                     AND (o.account, o.instrument, o.side, o.kind, o.quantity, o.price)
                         IS NOT DISTINCT FROM (d.account, d.instrument, d.side, d.kind, d.quantity, d.price)
                   ORDER BY abs(extract(epoch FROM o.at - d.at)), o.id LIMIT 1) AS possible_match"""

JUST_BEFORE = "d.at > c.last - make_interval(secs => %(cutoff_tolerance)s) AND d.at <= c.last"

# The join is exact and sees every row; tolerances and amendments are looked up for the few that differ.
EXECUTIONS_SQL = f"""
WITH {states("executions", "statements")}, {TOLERANCES},
covered AS (
    SELECT venue, account, min(period_start) AS first, max(as_of) AS last FROM statements
    WHERE as_of <= now() + interval '5 s' GROUP BY venue, account
),
differing AS MATERIALIZED (
    SELECT coalesce(o.venue, t.venue) AS venue, coalesce(o.account, t.account) AS account, coalesce(o.id, t.id) AS id,
           coalesce(o.scope, t.scope) AS scope,
           coalesce(o.instrument, t.instrument) AS instrument, coalesce(o.executed_at, t.executed_at) AS at,
           coalesce(t.executed_at, o.executed_at) AS fee_at, coalesce(o.side, t.side) AS side,
           o.present AS here, t.present AS there, o.kind AS our_kind, t.kind AS venue_kind,
           o.quantity AS our_quantity, t.quantity AS venue_quantity, o.price AS our_price, t.price AS venue_price,
           o.fee AS our_fee, t.fee AS venue_fee, o.account AS our_account, t.account AS venue_account,
           o.fee_currency AS our_currency, t.fee_currency AS venue_currency, o.reference AS our_reference,
           (o.kind, o.account, o.instrument, o.side, o.reference, o.fee_currency)
               IS DISTINCT FROM (t.kind, t.account, t.instrument, t.side, t.reference, t.fee_currency)
               -- What neither side says is no agreement.
               OR num_nulls(o.kind, o.account, o.instrument, o.side) > 0
               OR (o.fee_currency IS NULL AND (o.fee = 0) IS NOT TRUE) AS other
    FROM {SIDE.format(view="executions", name="o")}
    FULL JOIN {SIDE.format(view="venue_executions", name="t")}
         ON t.venue = o.venue AND t.id = o.id AND t.scope = o.scope
    WHERE ({AGREE}) IS NOT TRUE
),
-- So near to the newest cut-off that the venue may count it after.
awaited AS (
    SELECT d.venue, d.id FROM differing d JOIN covered c ON c.venue = d.venue AND c.account = d.account
    WHERE d.there IS NULL AND {JUST_BEFORE}
),
ours_alone AS (
    SELECT d.*, c.venue IS NOT NULL AS covered FROM differing d
    LEFT JOIN covered c ON c.venue = d.venue AND c.account = d.account
    WHERE d.there IS NULL AND ({JUST_BEFORE}) IS NOT TRUE
          AND (c.venue IS NULL OR {HAPPENED.format(column="d.at")} IS NOT TRUE
                                 OR d.at > c.first AND d.at <= c.last)
          AND NOT EXISTS (SELECT FROM gaps g
                          WHERE g.venue = d.venue AND g.account = d.account AND d.at > g.after AND d.at <= g.until)
          AND NOT EXISTS (SELECT FROM incomplete i WHERE i.venue = d.venue AND i.account = d.account
                          AND d.at > i.period_start AND d.at <= i.as_of)
),
alone AS MATERIALIZED (
    SELECT d.*, coalesce(our_kind, venue_kind) AS kind, coalesce(our_quantity, venue_quantity) AS quantity,
           coalesce(our_price, venue_price) AS price
    FROM (SELECT * FROM ours_alone WHERE covered UNION ALL SELECT *, NULL FROM differing WHERE here IS NULL) d
),
-- The nearest in time of the other side, before and after: never a match, but worth a look.
nearest AS (
    SELECT d.*, max(at) FILTER (WHERE here) OVER before AS here_before,
           min(at) FILTER (WHERE here) OVER after AS here_after,
           max(at) FILTER (WHERE there) OVER before AS there_before,
           min(at) FILTER (WHERE there) OVER after AS there_after
    FROM alone d
    WINDOW before AS (PARTITION BY {ALIKE} ORDER BY at), after AS (PARTITION BY {ALIKE} ORDER BY at DESC)
),
breaks AS MATERIALIZED (
    SELECT {TOLD}, here, ARRAY[CASE WHEN here THEN 'missing_at_venue' ELSE 'missing_here' END] AS classes,
           coalesce({finite("quantity")} AND {finite("price")} AND least(
               CASE WHEN here THEN at - there_before ELSE at - here_before END,
               CASE WHEN here THEN there_after - at ELSE here_after - at END
           ) <= make_interval(secs => %(match_window)s), false) AS possible
    FROM nearest d
    UNION ALL SELECT * FROM (
    SELECT {TOLD}, here, array_remove(ARRAY[
               CASE WHEN other THEN 'attributes' END,
               CASE WHEN (abs(our_quantity - venue_quantity) <= {tolerance("quantity", "d.instrument")}
                          AND {finite("our_quantity")}) IS NOT TRUE THEN 'quantity' END,
               CASE WHEN (abs(our_price - venue_price) <= {tolerance("price", "d.instrument")}
                          AND {finite("our_price")}) IS NOT TRUE THEN 'price' END,
               CASE WHEN (abs(our_fee - venue_fee) <= {tolerance("fee", "d.instrument")}
                          AND {finite("our_fee")}) IS NOT TRUE THEN 'fee' END], NULL) AS classes, false
    FROM differing d
    WHERE here AND there
          -- What both sides took back or replaced counts for neither.
          AND NOT (EXISTS (SELECT FROM maintenance.executions r
                           WHERE r.venue = d.venue AND r.reference = d.id AND {scope("r")} = d.scope)
                   AND EXISTS (SELECT FROM maintenance.venue_executions r
                               WHERE r.venue = d.venue AND r.reference = d.id AND {scope("r")} = d.scope))
    ) both_sides WHERE classes <> '{{}}'
),
-- Fees: sums differ by what differs, and by what only one side took back or replaced. What waits for a later statement
-- counts on neither side: not by its own fee, and not by what it takes back or replaces.
our_amended AS MATERIALIZED (
    SELECT DISTINCT venue, scope, id FROM (
        SELECT venue, {scope("e")} AS scope, reference AS id FROM maintenance.executions e WHERE reference IS NOT NULL
        EXCEPT ALL (SELECT venue, scope, our_reference FROM differing WHERE there IS NULL
                    EXCEPT ALL SELECT venue, scope, our_reference FROM ours_alone WHERE covered)) r
),
venue_amended AS MATERIALIZED (
    SELECT DISTINCT venue, {scope("e")} AS scope, reference AS id FROM maintenance.venue_executions e
    WHERE reference IS NOT NULL
),
one_side_amended AS MATERIALIZED (
    (SELECT * FROM our_amended EXCEPT SELECT * FROM venue_amended)
    UNION ALL (SELECT * FROM venue_amended EXCEPT SELECT * FROM our_amended)
),
charged AS MATERIALIZED (
    SELECT d.*, d.here AND d.our_kind IS DISTINCT FROM 'cancel' AND o.id IS NULL AS ours,
           d.there AND d.venue_kind IS DISTINCT FROM 'cancel' AND t.id IS NULL AS theirs
    FROM (
        SELECT {CHARGED} FROM differing WHERE there
        UNION ALL SELECT {CHARGED} FROM ours_alone WHERE covered
        UNION ALL
        SELECT o.venue, o.id, o.scope, t.executed_at, o.instrument, o.account, t.account, o.fee_currency,
               t.fee_currency, o.fee,
               t.fee, true, true, o.kind, t.kind
        FROM one_side_amended a
        JOIN {SIDE.format(view="executions", name="o")} ON o.venue = a.venue AND o.id = a.id AND o.scope = a.scope
        JOIN {SIDE.format(view="venue_executions", name="t")} ON t.venue = a.venue AND t.id = a.id AND t.scope = a.scope
        WHERE {AGREE}
    ) d
    LEFT JOIN our_amended o ON o.venue = d.venue AND o.id = d.id AND o.scope = d.scope
    LEFT JOIN venue_amended t ON t.venue = d.venue AND t.id = d.id AND t.scope = d.scope
),
amounts AS (
    SELECT c.*, ours AND theirs AND our_account IS NOT DISTINCT FROM venue_account
                AND our_currency IS NOT DISTINCT FROM venue_currency
                AND {finite("our_fee")} AND abs(our_fee - venue_fee) <= {tolerance("fee", "c.instrument")} AS equal
    FROM charged c
),
fee_breaks AS MATERIALIZED (
    SELECT venue, account, currency, day, min(day)::timestamptz AS at, count(DISTINCT id) AS executions,
           sum(amount)::text AS difference, {key("venue", "account", "currency", "day")} AS key,
           ARRAY[CASE WHEN sum(amount) = 'NaN' THEN 'not_a_number' ELSE 'amount' END] AS classes
    FROM (
        SELECT venue, our_account AS account, our_currency AS currency, (fee_at AT TIME ZONE 'UTC')::date AS day, id,
               {readable("our_fee")} AS amount
        FROM amounts WHERE ours AND equal IS NOT TRUE
        UNION ALL
        SELECT venue, venue_account, venue_currency, (fee_at AT TIME ZONE 'UTC')::date, id,
               -({readable("venue_fee")})
        FROM amounts WHERE theirs AND equal IS NOT TRUE) a
    GROUP BY venue, account, currency, day HAVING sum(amount) <> 0
)
SELECT r.*, (SELECT count(*) FROM breaks WHERE possible) AS possible, (SELECT count(*) FROM awaited) AS awaited FROM (
{result("reconcile_executions", uncovered="(SELECT count(*) FROM ours_alone WHERE NOT covered)", more=POSSIBLE)}) r
UNION ALL SELECT r.*, 0, 0 FROM (
{result("reconcile_fees", "fee_breaks", "(SELECT count(*) FROM ours_alone WHERE NOT covered)")}) r
"""
