# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup does whatever its engine: its id, its application, and order in the store before it begins."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Dict, List

from .._recovery_points.store import NAME, run_ids
from .._storage.read import head
from ..storage import storage_errors

TOOL_VERSION = "0.1.0"
#: Unfinished uploads of runs that nobody knows any more are aborted after so long.
ABANDONED_AFTER = timedelta(days=7)


def application_of(options: Dict[str, Any]) -> Dict[str, Any]:
    """Which application the data belong to, as far as it was handed in."""
    application = options.get("application") or {}
    return {name: application.get(name) for name in ("name", "version", "image")}


def tidy(s3: Any, storage: Dict[str, Any], prefix: str, dead: List[str], now: datetime) -> Dict[str, Any]:
    """Aborts what dead runs left half uploaded, and names recovery points that were never finished.

    :param dead: ids of runs that died on this host
    :returns: aborted_uploads (number), unfinished (ids of prefixes with objects and no recovery point)
    """
    bucket, aborted = storage["bucket"], 0
    with storage_errors(storage, "looking for unfinished uploads"):
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix + "/"):
            for upload in page.get("Uploads") or []:
                owner = upload["Key"][len(prefix) + 1 :].split("/")[0]
                if owner in dead or now - upload["Initiated"] > ABANDONED_AFTER:
                    s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                    aborted += 1
    unfinished = [
        run_id for run_id in run_ids(s3, storage, prefix)[:10] if head(s3, storage, f"{prefix}/{run_id}/{NAME}") is None
    ]
    return {"aborted_uploads": aborted, "unfinished": unfinished}
