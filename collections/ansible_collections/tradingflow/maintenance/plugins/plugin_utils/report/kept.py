# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of the reports in the store: they outlive the controller, and give the next one its history."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...module_utils.run import write_private
from ...module_utils.storage import client, key, patient, storage_errors
from .scope import PARTIAL


def keep(report: dict[str, Any], path: Path, storage: dict[str, Any]) -> dict[str, Any]:
    """Copies a report into the store. Returns it as the subject of a record.

    :param path: of report.json
    :raises StorageError: the store does not answer or refuses
    """
    s3 = client(patient(storage))
    folder = key(storage, "reports", report["environment"], report["playbook"], report["run_id"])
    with storage_errors(storage, "keeping the report"):
        for name, kind in (("report.html", "text/html; charset=utf-8"), ("report.json", "application/json")):
            s3.put_object(
                Bucket=storage["bucket"],
                Key=f"{folder}/{name}",
                Body=path.with_name(name).read_bytes(),
                ContentType=kind,
                ChecksumAlgorithm="SHA256",
            )
    return {"name": f"{folder}/report.json", "digest": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}


def bring_back(root: Path, playbook: str, storage: dict[str, Any], *, environment: str, limit: int) -> int:
    """Fetches those of the newest reports that this controller lacks, so that a new one knows the history too.

    :param root: folder of all runs
    :returns: how many were fetched
    :raises StorageError: the store does not answer or refuses
    """
    s3, bucket = client(storage, pool=8), storage["bucket"]
    folder = key(storage, "reports", environment, playbook) + "/"
    with storage_errors(storage, "looking for earlier reports"):
        names = [
            prefix["Prefix"][len(folder) : -1]
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder, Delimiter="/")
            for prefix in page.get("CommonPrefixes") or []
        ]
        # Run ids begin with the time: their order is that of the runs.
        names = sorted(filter(None, names))
        # Among many partial runs, the last whole one as well.
        wanted = {*names[-limit:], *[name for name in names if PARTIAL not in name][-1:]}
        lacking = [name for name in sorted(wanted) if not (root / playbook / name).exists()]

        def fetch(name: str) -> None:
            body = s3.get_object(Bucket=bucket, Key=f"{folder}{name}/report.json")["Body"].read()
            write_private(root / playbook / name / "report.json", body.decode("utf-8", "replace"))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(fetch, lacking))
    return len(lacking)
