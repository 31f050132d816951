"""One contender of the benchmark of reviews, in a process of its own, so that its memory is its own.

python review_contender.py empyrical|ffn|sql, the option "database" on stdin. Prints JSON: seconds (without the start of
Python and its imports), peak (bytes, VmHWM), figures by strategy. It runs in an environment of its own, with
empyrical-reloaded and ffn; nothing of this repository is imported.
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

PERIODS = 365
#: What each strategy's returns are: what a day brought, by what it began with.
RETURNS = """
SELECT strategy, day, (pnl / (equity - pnl))::float8 AS value FROM maintenance.equity
WHERE day < current_date ORDER BY strategy, day
"""
# The same figures in one statement.
SQL = """
WITH returns AS (
    SELECT strategy, day, (pnl / (equity - pnl))::float8 AS value FROM maintenance.equity WHERE day < current_date
), levels AS (
    SELECT strategy, day, value, exp(sum(ln(1 + value)) OVER w) AS level FROM returns
    WINDOW w AS (PARTITION BY strategy ORDER BY day)
), depths AS (
    SELECT strategy, value, level, level / greatest(1, max(level) OVER w) - 1 AS depth,
           row_number() OVER w = count(*) OVER (PARTITION BY strategy) AS last
    FROM levels WINDOW w AS (PARTITION BY strategy ORDER BY day)
)
SELECT strategy, max(level) FILTER (WHERE last) - 1, avg(value) / stddev_samp(value) * sqrt(365),
       stddev_samp(value) * sqrt(365), min(depth), avg(value) / sqrt(avg(least(value, 0) ^ 2)) * sqrt(365)
FROM depths GROUP BY strategy
"""
NAMES = ("twr", "sharpe", "volatility", "maximum_drawdown", "sortino")


def main() -> None:
    """Measures one."""
    import psycopg2

    given = json.load(sys.stdin)
    way = sys.argv[1]
    warnings.simplefilter("ignore")
    if way == "empyrical":
        import empyrical  # type: ignore[import-not-found]
        import pandas as pd
    elif way == "ffn":
        import ffn  # type: ignore[import-not-found]
        import pandas as pd
    begun, used = time.monotonic(), time.process_time()
    connection = psycopg2.connect(
        host=given["host"], port=given["port"], dbname=given["name"], user=given["user"], password=given["password"]
    )
    figures: dict[str, Any] = {}
    with connection.cursor() as cursor:
        if way == "sql":
            cursor.execute("SET jit = off; SET work_mem = '64MB'")
            cursor.execute(SQL)
            figures = {row[0]: dict(zip(NAMES, row[1:], strict=True)) for row in cursor.fetchall()}
        else:
            cursor.execute(RETURNS)
            table = pd.DataFrame(cursor.fetchall(), columns=["strategy", "day", "value"])
            table["day"] = pd.to_datetime(table["day"])
            for name, group in table.groupby("strategy"):
                values = group.set_index("day")["value"]
                figures[str(name)] = by_empyrical(empyrical, values) if way == "empyrical" else by_ffn(ffn, values)
    seconds, used = time.monotonic() - begun, time.process_time() - used
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    memory = int(peak[1]) * 1024 if peak else 0
    print(json.dumps({"seconds": seconds, "cpu": used, "peak": memory, "figures": figures}))


def by_empyrical(empyrical: Any, values: Any) -> dict[str, float]:
    """What its users compute, and no more: no interval, no correlation."""
    return {
        "twr": float(empyrical.cum_returns_final(values)),
        "sharpe": float(empyrical.sharpe_ratio(values, annualization=PERIODS)),
        "volatility": float(empyrical.annual_volatility(values, annualization=PERIODS)),
        "maximum_drawdown": float(empyrical.max_drawdown(values)),
        "sortino": float(empyrical.sortino_ratio(values, annualization=PERIODS)),
        "omega": float(empyrical.omega_ratio(values, annualization=PERIODS)),
    }


def by_ffn(ffn: Any, values: Any) -> dict[str, float]:
    """Likewise, of prices."""
    import pandas as pd

    level = pd.concat([pd.Series([1.0], index=[values.index[0] - pd.Timedelta(days=1)]), (1 + values).cumprod()])
    return {
        "twr": float(ffn.calc_total_return(level)),
        "sharpe": float(ffn.calc_sharpe(values, nperiods=PERIODS)),
        "volatility": float(values.std(ddof=1) * PERIODS**0.5),
        "maximum_drawdown": float(ffn.calc_max_drawdown(level)),
    }


if __name__ == "__main__":
    main()
