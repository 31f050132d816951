"""A restore in a process of its own, for tests that kill it: python restore_worker.py COLLECTIONS OPTIONS.json."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import server
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.logins import Logins
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import directories, engine, replace
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
    from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError

    options = json.loads(Path(sys.argv[2]).read_text())
    hang = options.pop("hang", "")

    def stop_at(name: str) -> None:
        print(name, flush=True)
        if name == hang:
            time.sleep(600)

    class Told(Progress):
        def phase(self, name: str, *rest: object) -> None:
            super().phase(name, *rest)  # type: ignore[arg-type]
            stop_at(name)

    # Between the steps of a swap, where nothing is told.
    swap, rename = server.swap, os.rename

    def swapped(*arguments: object) -> None:
        swap(*arguments)  # type: ignore[arg-type]
        stop_at("database swapped")

    replaced = replace._all

    def all_replaced(*arguments: object) -> None:
        replaced(*arguments)  # type: ignore[arg-type]
        stop_at("rows replaced")

    replace._all = all_replaced  # type: ignore[assignment]

    # Where roles without a superuser's rights come and go.
    make, drop = Logins.make, Logins.drop

    def made(self: Logins, role: str, *arguments: str, **more: object) -> str:
        name = make(self, role, *arguments, **more)  # type: ignore[arg-type]
        stop_at(f"role {role.rpartition('_')[2]} made")
        return name

    def dropped(self: Logins) -> None:
        stop_at("roles go")
        drop(self)
        stop_at("roles gone")

    Logins.make, Logins.drop = made, dropped  # type: ignore[method-assign]

    class Steps:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def rename(self, source: object, target: object) -> None:
            stop_at(f"before rename to {Path(str(target)).name.split('_before_')[0]}")
            rename(source, target)  # type: ignore[arg-type]

    server.swap = swapped  # type: ignore[assignment]
    directories.os = Steps()  # type: ignore[assignment,attr-defined]
    try:
        print(json.dumps(engine.run(options, Told())["problem"]), flush=True)
    except MaintenanceError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
