"""Databases of advisories as OSV gives them out, with the few records that tests need."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NOW = datetime.now(UTC)
WIDE = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"  # 7.5
NARROW = "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:L/A:L"  # 5.6


def advisory(id: str, alias: str, ecosystem: str, name: str, fixed: str, score: str, day: datetime) -> dict[str, Any]:
    kind = "ECOSYSTEM" if ecosystem == "PyPI" else "SEMVER"
    events = [{"introduced": "0"}, {"fixed": fixed}]
    affected = [{"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": kind, "events": events}]}]
    changed = day.strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {"schema_version": "1.7.0", "id": id, "aliases": [alias], "modified": changed, "published": changed}
    return {**record, "affected": affected, "severity": [{"type": "CVSS_V3", "score": score}]}


def advisories(day: datetime = NOW) -> dict[str, list[dict[str, Any]]]:
    return {
        "PyPI": [
            advisory("GHSA-462w-v97r-4m45", "CVE-2019-10906", "PyPI", "jinja2", "2.10.1", WIDE, day),
            advisory("GHSA-x84v-xcm2-53pg", "CVE-2018-18074", "PyPI", "requests", "2.20.0", WIDE, day),
        ],
        "npm": [advisory("GHSA-vh95-rmgr-6w4m", "CVE-2020-7598", "npm", "minimist", "0.2.1", NARROW, day)],
    }


def seed(folder: Path, records: dict[str, list[dict[str, Any]]]) -> Path:
    for ecosystem, found in records.items():
        (folder / ecosystem).mkdir(parents=True)
        with zipfile.ZipFile(folder / ecosystem / "all.zip", "w") as archive:
            for record in found:
                archive.writestr(f"{record['id']}.json", json.dumps(record))
    return folder
