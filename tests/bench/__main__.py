"""Runs the benchmarks that BENCH names (BENCH="audit trading"), all by default: see BENCHMARKS."""

from __future__ import annotations

import os
import signal
import sys

from . import (
    audit,
    backtest,
    backup,
    data_change,
    health,
    night,
    patching,
    protection,
    release,
    review,
    schema_change,
    trading,
    tuning,
)

BENCHMARKS = {
    "health": health.main,
    "trading": trading.main,
    "backup": backup.main,
    "protection": protection.main,
    "night": night.main,
    "change": schema_change.main,
    "rows": data_change.main,
    "patch": patching.main,
    "audit": audit.main,
    "backtest": backtest.main,
    "review": review.main,
    "tuning": tuning.main,
    "release": release.main,
}


def main() -> int:
    """Returns the exit status."""
    wanted = os.environ.get("BENCH", "").split() or list(BENCHMARKS)
    if unknown := set(wanted) - set(BENCHMARKS):
        print(f"There is no benchmark {', '.join(sorted(unknown))}. BENCH may name: {', '.join(BENCHMARKS)}.")
        return 2
    # Ended early, it still takes its services and data away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in wanted:
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
