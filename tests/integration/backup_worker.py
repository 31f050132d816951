"""A backup in a process of its own, for tests that kill it: python backup_worker.py COLLECTIONS OPTIONS.json."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engines
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
    from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError

    try:
        chosen = json.loads(Path(sys.argv[2]).read_text())
        phase = chosen.pop("killed_in", None)

        class Dying(Progress):
            def tick(self) -> None:
                if phase and self.name == phase:
                    os.kill(os.getpid(), signal.SIGKILL)
                super().tick()

        print(engines.of(chosen).create(chosen, Dying())["key"])
    except MaintenanceError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
