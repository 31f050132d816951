"""A real Prometheus and a real Alertmanager on loopback, with what monitoring_config puts into their folders."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._monitoring.engine import Configuring

from sandbox.processes import free_ports
from tests.debian import program
from tests.unit.monitoring_fixtures import options

#: What Alertmanager runs before anybody configures it, as Debian has it.
PLAIN = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
RECEIVERS = [
    {"name": "operators", "webhook_configs": [{"url": "http://127.0.0.1:9/operators"}]},
    {"name": "deadman", "webhook_configs": [{"url": "http://127.0.0.1:9/deadman"}]},
]


@dataclass
class Servers:
    """Both of them."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def rules_file(self) -> Path:
        return self.folder / "rules" / "tradingflow.yml"

    @property
    def routes_file(self) -> Path:
        return self.folder / "alertmanager.yml"

    def given(self, **more: Any) -> dict[str, Any]:
        """Options for these servers. Few rules, as promtool takes its time: about runs, and what is asked for."""
        given = options(
            self.folder,
            **{
                "targets": [],
                "rules_file": str(self.rules_file),
                "prometheus_url": self.url("prometheus"),
                "timeout": 20,
                "promtool": str(program("promtool", "prometheus")[0]),
                "amtool": str(program("amtool", "prometheus-alertmanager")[0]),
                **more,
            },
        )
        return {**given, **{name: {} for name in ("application", "database") if name not in more}}

    def routed(self, **more: Any) -> dict[str, Any]:
        """Options of Alertmanager's part."""
        return {
            "file": str(self.routes_file),
            "url": self.url("alertmanager"),
            "receivers": RECEIVERS,
            "routes": {"critical": "operators", "watchdog": "deadman"},
            "reload": [],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "4h",
            **more,
        }


def configured(given: dict[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    """One run; its checks by their ids."""
    result = Configuring(given, check_mode).run()
    result["checks"] = {check.id: check for check in result["checks"]}
    return result


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """Prometheus and Alertmanager, until the end of the block."""
    servers = Servers(folder, free_ports(("prometheus", "alertmanager"), {}))
    servers.rules_file.parent.mkdir()
    servers.routes_file.write_text(yaml.safe_dump(PLAIN))
    targets = [{"targets": [f"127.0.0.1:{servers.ports['alertmanager']}"]}]
    (folder / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"evaluation_interval": "1s", "scrape_interval": "1s"},
                "rule_files": [f"{servers.rules_file.parent}/*.yml"],
                "alerting": {"alertmanagers": [{"static_configs": targets}]},
                "scrape_configs": [
                    {
                        "job_name": "itself",
                        "static_configs": [{"targets": [f"127.0.0.1:{servers.ports['prometheus']}"]}],
                    }
                ],
            }
        )
    )
    arguments = {
        "prometheus": [
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            "--web.enable-lifecycle",
        ],
        "alertmanager": [
            f"--config.file={servers.routes_file}",
            f"--storage.path={folder}/alerts",
            "--cluster.listen-address=",
        ],
    }
    try:
        for name, more in arguments.items():
            package = "prometheus" if name == "prometheus" else "prometheus-alertmanager"
            binary, environment = program(package, package)
            address = f"--web.listen-address=127.0.0.1:{servers.ports[name]}"
            with (folder / f"{name}.log").open("wb") as log:
                servers.processes[name] = subprocess.Popen(
                    [str(binary), *more, address],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"PATH": os.defpath, **environment},
                )
        for name in arguments:
            ready(servers, name)
        yield servers
    finally:
        for process in servers.processes.values():
            process.kill()
            process.wait()


def ready(servers: Servers, name: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"{servers.url(name)}/-/ready", timeout=5):
                return
        except OSError:
            assert servers.processes[name].poll() is None, (servers.folder / f"{name}.log").read_text()
            assert time.monotonic() < deadline, f"{name} does not start"
            time.sleep(0.1)
