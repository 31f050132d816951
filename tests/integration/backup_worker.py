"""A backup in a process of its own, for tests that kill it: python backup_worker.py COLLECTIONS OPTIONS.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup.progress import Progress
    from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError

    try:
        print(engine.create(json.loads(Path(sys.argv[2]).read_text()), Progress())["key"])
    except MaintenanceError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
