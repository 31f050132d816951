# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sample TradingFlow service as a process: schema, data files, start and stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .layout import CHECKOUT, SandboxError, State
from .processes import MARK, alive, end, free_ports, retried, spawn, start_time, wait_until

VERSION = "1.2.0"
IMAGE = f"tradingflow/app:v{VERSION}"


def environment(state: State) -> dict[str, str]:
    """What the service and its migrations get: the database's URL is nowhere else."""
    postgres = state["postgres"]
    password = quote(postgres["owner_password"], safe="")
    address = f"{postgres['host']}:{postgres['port']}/{postgres['database']}"
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(CHECKOUT),
        "TRADINGFLOW_DATABASE_URL": f"postgresql+psycopg2://{postgres['owner']}:{password}@{address}?sslmode=disable",
        MARK: str(state.layout.root),
    }


#: Where the schema of a new sandbox stands: one revision before the head, which `make migrate` carries out.
SEEDED = "4a9d6e25b8f1"


def migrate(state: State, revision: str = SEEDED) -> None:
    """Brings the schema to a revision, as the operator would."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", CHECKOUT / "sandbox/app/alembic.conf", "upgrade", revision],
        env=environment(state),
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SandboxError(f"alembic upgrade {revision} failed:\n{done.stdout}")


def create(state: State) -> None:
    """Makes the folder of the application's data."""
    folder = state.layout.root / "app"
    (folder / "data").mkdir(mode=0o755, parents=True)
    folder.chmod(0o700)
    state.update(
        "app",
        data_dir=str(folder / "data"),
        log_file=str(state.layout.root / "log/app.log"),
        version=VERSION,
        image=IMAGE,
    )


def trouble_file(state: State) -> Path:
    """By what the service is told to misbehave: not among its data, which are backed up."""
    return state.layout.root / "app/trouble.json"


def start(state: State) -> None:
    """Starts the service on its port, or on another if that was taken meanwhile."""
    retried(lambda: _start(state))


def _start(state: State) -> None:
    section = state.data.setdefault("app", {})
    ports = free_ports(["port"], {"port": section["port"]} if "port" in section else {})
    state.update("app", **ports, url=f"http://127.0.0.1:{ports['port']}")
    log_file = Path(section["log_file"])
    # Tracebacks of a start that failed; the service writes its own log itself.
    console = log_file.with_name("app.console.log")
    process = spawn(
        [sys.executable, "-m", "sandbox.app"],
        root=state.layout.root,
        log_file=console,
        environment={
            **environment(state),
            "TRADINGFLOW_PORT": str(section["port"]),
            "TRADINGFLOW_DATA_DIR": section["data_dir"],
            "TRADINGFLOW_LOG_FILE": str(log_file),
            "TRADINGFLOW_VERSION": section["version"],
            "TRADINGFLOW_IMAGE": section["image"],
            "TRADINGFLOW_TROUBLE_FILE": str(trouble_file(state)),
        },
        cwd=CHECKOUT,
    )
    state.update("app", pid=process.pid, pid_started=start_time(process.pid))
    wait_until(lambda: not problem(section), "The app", process=process, log_file=console)


def problem(section: dict[str, Any]) -> str | None:
    """What is wrong with the service; None if it is ready."""
    if not alive(section):
        return "not running"
    # It takes longer than to stop a service, or to start the database.
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(section["url"] + "/ready", timeout=3) as answer:
            return None if json.load(answer)["status"] == "ready" else "not ready"
    except urllib.error.HTTPError as error:
        return f"answers {error.code}"
    except (OSError, ValueError, KeyError) as error:
        return str(error)


def stop(state: State) -> None:
    """Stops the service."""
    section = state.get("app", {})
    if alive(section):
        end([section["pid"]], signal.SIGTERM, 5)
