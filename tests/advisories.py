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
    kind = "SEMVER" if ecosystem == "npm" else "ECOSYSTEM"
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


def distributions(day: datetime = NOW) -> dict[str, list[dict[str, Any]]]:
    """Of Debian and Alpine, with their canaries."""
    return {
        "Debian": [
            advisory("DEBIAN-CVE-2023-4911", "CVE-2023-4911", "Debian:12", "glibc", "2.36-9+deb12u3", WIDE, day),
            advisory("DEBIAN-CVE-2022-3715", "CVE-2022-3715", "Debian:12", "bash", "5.2-1", WIDE, day),
            advisory("DEBIAN-CVE-2021-0001", "CVE-2021-0001", "Debian:11", "bash", "9", WIDE, day),
        ],
        "Alpine": [
            advisory("ALPINE-CVE-2022-37434", "CVE-2022-37434", "Alpine:v3.20", "zlib", "1.2.12-r2", WIDE, day),
            advisory("ALPINE-CVE-2024-0001", "CVE-2024-0001", "Alpine:v3.20", "openssl", "3.3.2-r0", NARROW, day),
        ],
    }


def seed(folder: Path, records: dict[str, list[dict[str, Any]]]) -> Path:
    for ecosystem, found in records.items():
        (folder / ecosystem).mkdir(parents=True)
        with zipfile.ZipFile(folder / ecosystem / "all.zip", "w") as archive:
            for record in found:
                archive.writestr(f"{record['id']}.json", json.dumps(record))
    return folder
