"""Our part in the benchmark of reviews, in a process of its own: a whole review, as its task calls it.

python -m tests.bench.review_ours, the option "database" on stdin. Prints JSON as review_contender.py.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._review import engine, options

NAMES = ("twr", "sharpe", "volatility", "maximum_drawdown", "sortino", "omega")


def main() -> None:
    """Measures it."""
    given: dict[str, Any] = json.load(sys.stdin)
    result = ArgumentSpecValidator(options.SPEC).validate({"database": given, "timeout": 600})
    begun, used = time.monotonic(), time.process_time()
    found = engine.review(result.validated_parameters, {})
    seconds, used = time.monotonic() - begun, time.process_time() - used
    bad = [check.message for check in found.checks if check.id.startswith("review.identity") and check.status != "ok"]
    if bad:
        raise RuntimeError(f"{len(bad)} books are not right: {bad[:3]}")
    figures = {
        name: {key: data[key] for key in NAMES if key in data} for name, data in found.record["strategies"].items()
    }
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    memory = int(peak[1]) * 1024 if peak else 0
    print(json.dumps({"seconds": seconds, "cpu": used, "peak": memory, "figures": figures}))


if __name__ == "__main__":
    main()
