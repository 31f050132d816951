# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cluster of the sandbox, up and down. See docs/sandbox.md."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..layout import CHECKOUT, Layout, SandboxError, State, write_private
from ..processes import alive, end, free_ports, marked, retried, spawn, start_time, tail, wait_until
from . import disposable, groups, images, manifests, pki, programs, settings

#: Programs from Debian, and their packages.
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "docker-registry": "docker-registry",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "unshare": "util-linux",
    "zstd": "zstd",
}
VERSION = "v1.2.0"


def folder(state: State) -> Path:
    """Where everything of the cluster is that is on a disk."""
    return state.layout.root / "cluster"


def missing() -> str | None:
    """Why this machine cannot have a cluster; None if it can."""
    if disposable.named():
        return None
    if not sys.platform.startswith("linux"):
        return "its node is made of what Linux has"
    if os.getuid() != 0:
        return "its node needs root"
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    packages = {package for name, package in NEEDED.items() if not shutil.which(name, path=path)}
    if not Path(settings.PLUGINS, "bridge").exists():
        packages.add("containernetworking-plugins")
    if packages:
        return f"it needs more programs: apt-get install --no-install-recommends {' '.join(sorted(packages))}"
    return None


def up(layout: Layout, tell: Callable[[str], None] = print) -> list[str]:
    """Starts the cluster, unless it runs.

    :param tell: gets a line whenever there is news
    :returns: what there is, as lines; empty if it ran
    :raises SandboxError: there is no sandbox, or no way to have a cluster here
    """
    from ..lifecycle import existing

    if (why := missing()) is not None:
        raise SandboxError(f"No cluster: {why}.")
    existing(layout)
    client = disposable.kubectl() if disposable.named() else None
    built = Path(client).parent if client else programs.build(tell)
    with layout.locked():
        state = existing(layout)
        layout.root = Path(state["data_root"])
        if running(state) and state["cluster"].get("complete"):
            return []
        stop(state)
        if disposable.named():
            folder(state).mkdir(mode=0o700)
            section = disposable.describe(str(built / "kubectl"), folder(state))
            state.data.pop("cluster", None)
            state.update("cluster", complete=False, **section, **_names(section["registry"]))
        else:
            retried(lambda: _start(state, built))
        _fill(state)
        state.update("cluster", complete=True)
        section = state["cluster"]
    return [
        f"cluster: {section['server']}, namespaces {' and '.join(manifests.NAMESPACES)}",
        f"registry: {section['registry']}, {images.REPOSITORY}: {', '.join(section['images'])}",
        f"kubeconfig: {section['kubeconfig']} (of an administrator: {section['admin_kubeconfig']})",
        f"kubectl: {section['kubectl']}",
    ]


def kubeconfig(layout: Layout, *, admin: bool) -> str:
    """Where the kubeconfig of the maintenance user is, or of an administrator.

    :raises SandboxError: there is no cluster
    """
    section = State(layout).get("cluster", {})
    if not section.get("complete"):
        raise SandboxError("There is no cluster. Run: python -m sandbox cluster-up")
    return str(section["admin_kubeconfig" if admin else "kubeconfig"])


def running(state: State) -> bool:
    """Whether its node is there; one of the user's own is always taken to be."""
    section = state.get("cluster", {})
    return bool(section.get("disposable")) or alive(section)


def _names(registry: str) -> dict[str, Any]:
    """What is called how in each cluster."""
    return {
        "repository": f"{registry}/{images.REPOSITORY}",
        "namespaces": list(manifests.NAMESPACES),
        "deployment": manifests.NAME,
        "container": manifests.NAME,
    }


def _start(state: State, built: Path) -> None:
    """The node, up to where it can be spoken to."""
    place = folder(state)
    if place.exists():
        stop(state)
    ports = free_ports(["api", "registry"], state.get("cluster", {}).get("ports", {}))
    place.mkdir(mode=0o700)
    for name in ("keys", "log", "control"):
        (place / name).mkdir(mode=0o700)
    users = pki.write(
        place / "keys",
        port=ports["api"],
        node=settings.NODE,
        node_address=settings.ADDRESS,
        service_address=settings.API_SERVICE,
    )
    wanted = {
        "root": str(state.layout.root),
        "programs": str(built),
        "ports": ports,
        "outward": [state["postgres"]["port"]],
    }
    write_private(place / "node.json", json.dumps(wanted))
    process = spawn(
        [sys.executable, "-m", "sandbox.cluster.node", place],
        root=state.layout.root,
        log_file=place / "log/node.log",
        environment={"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin", "LANG": "C.UTF-8"},
        cwd=CHECKOUT,
    )
    state.update(
        "cluster",
        complete=False,
        pid=process.pid,
        pid_started=start_time(process.pid),
        ports=ports,
        server=f"https://127.0.0.1:{ports['api']}",
        registry=f"127.0.0.1:{ports['registry']}",
        **_names(f"127.0.0.1:{ports['registry']}"),
        context=pki.CONTEXT,
        kubeconfig=str(users["maintenance"]),
        admin_kubeconfig=str(users["admin"]),
        kubectl=str(built / "kubectl"),
        log_dir=str(place / "log"),
    )
    wait_until(
        lambda: _answers(f"http://127.0.0.1:{ports['registry']}/v2/"),
        "The registry of the cluster",
        process=process,
        log_file=place / "log/node.log",
    )


def _answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    handlers: list[Any] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    with suppress(OSError), urllib.request.build_opener(*handlers).open(url, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


def ready(state: State) -> bool:
    """Whether the API server says that it is."""
    keys = folder(state) / "keys"
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    return _answers(f"{state['cluster']['server']}/readyz", context)


def _fill(state: State) -> None:
    """Images, namespaces and the application."""
    section, logs = state["cluster"], folder(state) / "log"
    if section.get("disposable"):
        disposable.check(state)
    with ThreadPoolExecutor(1) as pool:
        pushed = pool.submit(images.push, section["registry"])
        if not section.get("disposable"):
            _wait_for_api(state, logs)
        digests = pushed.result()
    state.update("cluster", images={version: f"{section['repository']}@{each}" for version, each in digests.items()})
    objects = manifests.everything(
        section["images"][VERSION],
        os.environ[disposable.DATABASE] if section.get("disposable") else _database_url(state),
        float(os.environ.get("TRADINGFLOW_DEFECT_AFTER", "60")),
    )
    if section.get("disposable"):
        disposable.mark(state, objects)
    # Not by a file: a path with a comma would be two, and a Secret is among them.
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl(state, "apply", "--server-side", "-f", "-", text=content)
    names = (manifests.NAME, manifests.CLIENT)
    for namespace in manifests.NAMESPACES:
        for name in names:
            try:
                kubectl(state, "-n", namespace, "rollout", "status", f"deployment/{name}", "--timeout=180s")
            except SandboxError as error:
                what = kubectl(state, "-n", namespace, "get", "pods,events")
                raise SandboxError(f"{error}\n{what}\n{tail(logs / 'node.log')}") from None


def _wait_for_api(state: State, logs: Path) -> None:
    try:
        _until(lambda: ready(state) or not running(state), "The API server is not ready", 120)
        if not running(state):
            raise SandboxError("The node ended.")
    except SandboxError as error:
        said = "\n".join(tail(logs / f"{name}.log") for name in ("node", "kube-apiserver"))
        raise SandboxError(f"{error} {logs} says:\n{said}") from None


def _database_url(state: State) -> str:
    """As the pods reach it: through the node's address."""
    section = state["postgres"]
    login = f"{section['owner']}:{quote(section['owner_password'], safe='')}"
    place = f"{settings.ADDRESS}:{section['port']}/{section['database']}"
    return f"postgresql+psycopg2://{login}@{place}?sslmode=disable"


def kubectl(state: State, *arguments: str, text: str = "") -> str:
    """What an administrator's kubectl prints.

    :raises SandboxError: it failed
    """
    section = state["cluster"]
    done = subprocess.run(
        [section["kubectl"], "--kubeconfig", section["admin_kubeconfig"], *arguments],
        input=text,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SandboxError(f"kubectl {' '.join(arguments[:4])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def hold(state: State, name: str, *, seconds: float = 30) -> None:
    """Kills a program of the node, such as kube-apiserver, and keeps it down."""
    control = folder(state) / "control"
    (control / f"{name}.hold").touch()
    _until((control / f"{name}.held").exists, f"{name} does not end", seconds)


def release(state: State, name: str, *, seconds: float = 60) -> None:
    """Starts it again; the API server is ready then."""
    control = folder(state) / "control"
    (control / f"{name}.hold").unlink(missing_ok=True)
    _until(lambda: not (control / f"{name}.held").exists(), f"{name} does not start", seconds)
    if name == "kube-apiserver":
        _until(lambda: ready(state), f"{name} is not ready", seconds)


def _until(done: Callable[[], bool], problem: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SandboxError(f"{problem} within {seconds:g} s.")
        time.sleep(0.05)


def down(layout: Layout) -> list[str]:
    """Ends the cluster and deletes what is its own."""
    if not layout.state_file.exists():
        return []
    with layout.locked():
        state = State(layout)
        if state.get("data_root"):
            layout.root = Path(state["data_root"])
        if not state.get("cluster") and not folder(state).exists() and not groups.left(layout.root):
            return []
        stop(state)
        state.data.pop("cluster", None)
        state.update()
    return ["The cluster is gone."]


def stop(state: State) -> None:
    """Ends the node, by which everything in it ends, and deletes what is left: control groups and a folder.

    :raises SandboxError: a recorded process runs and is not proven to be the node
    """
    root, section = state.layout.root, state.get("cluster", {})
    if section.get("disposable"):
        disposable.release(state)
    if alive(section):
        if section["pid"] not in marked(root):
            raise SandboxError(
                f"Recorded as a cluster, but not known to be of {root}: process {section['pid']}. "
                "End it, then try again."
            )
        end([section["pid"]], signal.SIGKILL, 10)
    if kept := groups.remove(root):
        raise SandboxError(f"Control groups of the cluster are still in use: {', '.join(map(str, kept))}")
    if folder(state).exists():
        shutil.rmtree(folder(state))
