"""A restore drill in a process of its own, for tests that kill it: python drill_worker.py COLLECTIONS OPTIONS.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
    from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError

    class Told(Progress):
        def phase(self, name: str, *rest: object) -> None:
            super().phase(name, *rest)  # type: ignore[arg-type]
            print(name, flush=True)

    try:
        print(json.dumps(engine.run(json.loads(Path(sys.argv[2]).read_text()), Told())["problem"]))
    except MaintenanceError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
