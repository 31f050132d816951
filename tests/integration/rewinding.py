"""A cluster and its repository put back to where they were: what one test does to them costs the next ones nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from ansible_collections.tradingflow.maintenance.plugins.module_utils._isolation.processes import inside
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest.configuration import parsed
from ansible_collections.tradingflow.maintenance.plugins.module_utils.storage import client

from tests.integration.pgbackrest_fixtures import Physical

#: pgBackRest's repository, and recovery points.
_PREFIXES = ("pgbackrest/", "backups/")


class Baseline:
    """Where a platform stood when this was made: its data directory, and what its repository and bucket held.

    Each restore in place begins a timeline, and each plan looks into all that there are.
    """

    def __init__(self, physical: Physical, folder: Path) -> None:
        self._physical = physical
        self._copy = folder / "data"
        folder.mkdir(mode=0o700)
        # In good order: all of its log is archived then.
        physical.sandbox("stop", "postgres")
        self._data = Path(physical.state["postgres"]["data_dir"])
        subprocess.run(["cp", "-a", str(self._data), str(self._copy)], check=True)
        self._objects = self._versions()
        physical.sandbox("start", "postgres")

    def _versions(self) -> set[tuple[str, str]]:
        """Key and version of all that there is and was, marks of deletion too."""
        storage = self._physical.sandbox.storage
        pages = client(storage).get_paginator("list_object_versions")
        return {
            (each["Key"], each["VersionId"])
            for prefix in _PREFIXES
            for page in pages.paginate(Bucket=storage["bucket"], Prefix=prefix)
            for kind in ("Versions", "DeleteMarkers")
            for each in page.get(kind) or []
        }

    def _archiving(self) -> list[int]:
        """Processes of pgBackRest with the platform's own configuration, in a private folder of the test's."""
        wanted, found = f"--config={self._physical.pgbackrest['config_file']}".encode(), []
        for entry in os.listdir("/proc"):
            with suppress(OSError):
                if entry.isdigit() and wanted in Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry))
        return found

    def _forget(self) -> None:
        """Removes what came into the bucket since."""
        storage = self._physical.sandbox.storage
        store: Any = client(storage)
        kept = {str(folder) for key, _version in self._objects for folder in PurePosixPath(key).parents}
        folders: set[str] = set()
        late = []
        for key, version in self._versions() - self._objects:
            new = [str(folder) for folder in PurePosixPath(key).parents if str(folder) not in kept]
            if new:
                # The store would list a folder without objects, which others' do not have.
                folders.add(new[-1])
            else:
                late.append({"Key": key, "VersionId": version})
        for at in range(0, len(late), 1000):
            done = store.delete_objects(Bucket=storage["bucket"], Delete={"Objects": late[at : at + 1000]})
            assert not done.get("Errors"), done["Errors"]
        opener = build_opener(ProxyHandler({}))
        for folder in folders:
            place = f"127.0.0.1:{self._physical.state['s3']['ports']['filer']}/buckets/{storage['bucket']}"
            url = f"http://{place}/{quote(folder)}?recursive=true"
            opener.open(Request(url, method="DELETE"), timeout=60).close()

    def rewind(self) -> None:
        """Goes back to it; the server runs then."""
        while pids := inside(self._data):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)
            time.sleep(0.02)
        # What archives for it in the background outlives it, and would go on.
        while left := self._archiving():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for path in self._data.parent.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        subprocess.run(["cp", "-a", str(self._copy), str(self._data)], check=True)
        text = Path(self._physical.pgbackrest["config_file"]).read_text(encoding="utf-8")
        # What it noted there as archived is not any more.
        for each in Path(parsed(text)["global"]["spool-path"]).glob("archive/*"):
            shutil.rmtree(each)
        self._forget()
        assert self._versions() == self._objects
        self._physical.sandbox("start", "postgres")
