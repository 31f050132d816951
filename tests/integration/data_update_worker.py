"""A data update in a process of its own, for tests that kill it: python data_update_worker.py COLLECTIONS OPTIONS."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress

options = json.loads(Path(sys.argv[2]).read_text())
POINT = {"id": "p", "key": "k", "sha256": "0" * 64, "created_at": "now"}
setattr(engine, "recent", lambda options, database, kind: dict(POINT))  # noqa: B010
print(json.dumps(engine.run(options, Progress())["problem"]))
