# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL is put together from constants; values are parameters.

"""How much of its markets a strategy took: what it traded by instrument and day, in the market's volume."""

from __future__ import annotations

from .._checks.sql import Views, readable
from .exposure import TRADED

#: Days back from the review's last one: what a market was years ago is no hint.
DAYS = 90
VIEWS: Views = {
    "executions": TRADED["executions"],
    "market_volume": {"instrument": "text", "day": "date", "volume": "exact"},
}
# A volume that is there twice, none, 0, or below what the strategy alone traded is no volume of its market.
SQL = f"""
WITH traded AS (
    SELECT e.strategy::text AS strategy, e.instrument::text AS instrument,
           CASE WHEN isfinite(e.executed_at) THEN (e.executed_at AT TIME ZONE 'UTC')::date END AS day,
           sum(CASE WHEN e.kind IN ('trade', 'correct') THEN abs({readable("e.quantity")}) ELSE 'NaN' END) AS quantity
    FROM maintenance.executions e
    WHERE (e.executed_at IS NULL OR NOT isfinite(e.executed_at)
           OR (e.executed_at >= (%(until)s::date + 1 - {DAYS})::timestamp AT TIME ZONE 'UTC'
               AND e.executed_at < (%(until)s::date + 1)::timestamp AT TIME ZONE 'UTC'))
          AND e.kind IS DISTINCT FROM 'cancel'
          AND NOT EXISTS (SELECT FROM maintenance.executions r
                          WHERE r.venue = e.venue AND r.reference = e.venue_execution_id
                                AND r.kind IN ('cancel', 'correct'))
    GROUP BY 1, 2, 3
), volume AS (
    SELECT v.instrument::text AS instrument, v.day,
           CASE WHEN count(*) = 1 THEN min({readable("v.volume")}) END AS volume
    FROM maintenance.market_volume v
    WHERE v.day > %(until)s::date - {DAYS} AND v.day <= %(until)s::date GROUP BY 1, 2
), shares AS (
    SELECT t.*, CASE WHEN v.volume > 0 AND v.volume < 'NaN' AND t.quantity <= v.volume
                     THEN t.quantity / v.volume END AS share
    FROM traded t LEFT JOIN volume v ON v.instrument = t.instrument AND v.day = t.day
)
SELECT strategy, count(*) AS traded, count(share) AS known, max(share)::float8 AS most,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY share)::float8 AS usual,
       (array_agg(instrument ORDER BY share DESC NULLS LAST, instrument, day))[1] AS instrument,
       (array_agg(day ORDER BY share DESC NULLS LAST, instrument, day))[1] AS day,
       (array_agg(instrument ORDER BY instrument, day) FILTER (WHERE share IS NULL))[1] AS unknown,
       (array_agg(day ORDER BY instrument, day) FILTER (WHERE share IS NULL))[1] AS unknown_day
FROM shares GROUP BY 1 ORDER BY 1
"""
