# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sealed bundle as an auditor sees it: by the verifier, and by what its manifest says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, Dict, List, Optional

from .._ledger.keys import keyid_of
from ..errors import EvidenceError
from .bundle import SCRIPT
from .stamp import roots_of
from .statement import MANIFEST


def sources_of(folder: Path) -> List[Dict[str, Any]]:
    """What a bundle's manifest says of its sources, without their files."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    found = [
        {"host": host["host"], "place": host["folder"], **source}
        for host in manifest["hosts"]
        for source in host["sources"]
    ]
    return [{**each, "files": len(each["files"])} for each in found]


def prove(folder: Path, keys: List[Any], timestamp: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """What the verifier says of a bundle; it is what an auditor runs.

    :raises EvidenceError: it rejects it
    """
    spec = importlib.util.spec_from_file_location("tradingflow_bundle_verify", SCRIPT)
    if spec is None or spec.loader is None:
        raise EvidenceError("The verifier is missing from this collection.", "Install the collection again.")
    verifier = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(verifier)
    roots = roots_of(timestamp["ca_files"]) if timestamp else []
    known = {keyid_of(key): verifier.Key(key) for key in keys}
    found: Dict[str, Any] = vars(verifier.prove(str(folder), known, roots, None))
    if found["verdict"] != "intact":
        raise EvidenceError(
            f"The bundle {folder} does not verify: {'; '.join(found['problems'])}.",
            "Remove that folder and run again; if it happens twice, check the disk.",
        )
    return found
