"""One contender of the benchmark of trading, in a process of its own, so that its memory is its own.

python -m tests.bench.contender ours|csv|sql, the option "database" on stdin. Prints JSON: seconds (without the start of
Python and its imports), peak (bytes, VmHWM), figures.
"""

from __future__ import annotations

import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

#: Seconds one statement may take, more than by default: the benchmark shows how long they take at ten times the data.
TIMEOUT = 120


def ours(database: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """The area trading, as its task calls it."""
    from tests.integration.trading_worker import measured

    begun = time.monotonic()
    found = measured(Place(database), timeout=TIMEOUT)  # type: ignore[arg-type]
    seconds = time.monotonic() - begun
    bad = [check.message for check in found.values() if check.status == "unknown"]
    if bad:
        raise RuntimeError(f"{len(bad)} checks are unknown: {bad[:3]}")
    return seconds, {
        name: float(check.value) for name, check in found.items() if isinstance(check.value, (int, float))
    } | {
        name: float(check.value)
        for name, check in found.items()
        if name.startswith("risk_limits:") and check.value is not None
    }


class Place:
    """A platform as far as the checks of trading need it."""

    def __init__(self, database: dict[str, Any]) -> None:
        self.database = database


def pandas(database: dict[str, Any], way: str) -> tuple[float, dict[str, Any]]:
    """The same with pandas.

    :param way: csv: COPY and floats, fast and not exact; sql: read_sql and Decimals, exact
    """
    import pandas as pd  # type: ignore[import-untyped]
    import psycopg2
    import sqlalchemy

    from .books import COLUMNS, TIMES, figures

    begun = time.monotonic()
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(
            host=database["host"],
            port=database["port"],
            dbname=database["name"],
            user=database["user"],
            password=database["password"],
            options="-c timezone=UTC",
        ),
    )

    def fetch(view: str) -> pd.DataFrame:
        query = f"SELECT {COLUMNS[view]} FROM maintenance.{view}"
        if way == "sql":
            with engine.connect() as connection:
                frame = pd.read_sql(sqlalchemy.text(query), connection)
        else:
            text = io.BytesIO()
            raw: Any = engine.raw_connection()
            raw.cursor().copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)", text)
            raw.close()
            text.seek(0)
            frame = pd.read_csv(text, true_values=["t"], false_values=["f"], low_memory=False)
        for name in TIMES & set(frame.columns):
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
        return frame

    result = figures(fetch)
    return time.monotonic() - begun, result


def main() -> None:
    """Runs the one that is named."""
    way, database = sys.argv[1], json.load(sys.stdin)
    seconds, figures = ours(database) if way == "ours" else pandas(database, way)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak
    print(json.dumps({"seconds": seconds, "peak": int(peak[1]) * 1024, "figures": figures}))


if __name__ == "__main__":
    main()
