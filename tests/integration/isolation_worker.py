"""A drill's replay in a process of its own, to be traced: python isolation_worker.py COLLECTIONS SOURCE.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    sys.path[:0] = [sys.argv[1], str(Path(__file__).parents[2])]
    from tests.integration.isolation_fixtures import Source
    from tests.integration.test_isolation import drilled

    known = json.loads(Path(sys.argv[2]).read_text())
    source = Source.known(Path(known["root"]), Path(known["programs"]), known["lsn"])
    # What the trace must show, or it shows nothing.
    (source.root / "traced").touch()
    with source.copy() as server:
        drilled(source, server)


if __name__ == "__main__":
    main()
