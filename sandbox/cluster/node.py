# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node: python -m sandbox.cluster.node FOLDER. Namespaces of its own, and in them everything that a cluster is.

It has its own network, so no bridge, address or port of it can be somebody else's; its own mounts, processes and
control groups. When its first process ends, the kernel ends all of it. FOLDER/node.json says what to start, FOLDER/log
gets what that says, FOLDER/control/NAME.hold stops a program until it is removed (NAME.held: it is stopped).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ..processes import MARK
from . import groups, settings

#: In which programs do not find those of the caller.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Little of what they hold is garbage at their start: to collect it less often saves a second of the API server.
ENVIRONMENT = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/run", "GOGC": "200"}
AGAIN = 0.5


def enter(folder: Path) -> NoReturn:
    """Takes what it needs of the machine along, and begins anew in namespaces of its own."""
    wanted = read(folder)
    # Of the machine: sockets belong to the network in which they were made.
    given = {"network": os.open("/proc/self/ns/net", os.O_RDONLY)}
    for name, port in wanted["ports"].items():
        listening = socket.create_server(("127.0.0.1", port), backlog=128)
        given[name] = listening.detach()
    for descriptor in given.values():
        os.set_inheritable(descriptor, True)
    groups.join(Path(wanted["root"]))
    spaces = ("mount", "net", "pid", "ipc", "uts", "cgroup")
    options = [*(f"--{space}" for space in spaces), "--fork", "--kill-child=KILL", "--propagation", "private"]
    os.execvp(  # noqa: S606 - there is no shell
        "unshare",
        ["unshare", *options, sys.executable, "-m", "sandbox.cluster.node", str(folder), json.dumps(given)],
    )


def read(folder: Path) -> dict[str, Any]:
    """ports (name -> of loopback), outward (ports of the machine's loopback), programs (folder), root."""
    content: dict[str, Any] = json.loads((folder / "node.json").read_text(encoding="utf-8"))
    return content


def run(*command: str) -> None:
    """A program that must succeed."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def mount(kind: str, options: str, place: str) -> None:
    """Mounts a file system that has no device."""
    run("mount", "-t", kind, "-o", options, "tradingflow", place)


def furnish(folder: Path, wanted: dict[str, Any]) -> None:
    """Mounts, control groups and the network of the node."""
    mount("proc", "nosuid,nodev,noexec", "/proc")
    mount("sysfs", "nosuid,nodev,noexec", "/sys")
    arrange_groups()
    mount("tmpfs", "mode=755,size=75%", "/run")
    mount("tmpfs", "mode=755", "/var/log")
    # Some places are fixed in programs.
    for name in ("upper", "work"):
        os.makedirs(f"/run/lib/{name}")
    mount("overlay", "lowerdir=/var/lib,upperdir=/run/lib/upper,workdir=/run/lib/work", "/var/lib")
    subprocess.run(["cp", "-r", "--", folder / "keys", settings.KEYS], check=True)
    settings.write(Path(settings.SETTINGS), wanted["ports"])
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", settings.BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{settings.ADDRESS}/24", "dev", settings.BRIDGE)
    run("ip", "link", "set", settings.BRIDGE, "up")
    run("ip", "route", "add", settings.SERVICES, "dev", settings.BRIDGE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    # Its network's settings are its own. The others are the machine's, and none of a cluster's business.
    run("mount", "--bind", "/proc/sys", "/proc/sys")
    run("mount", "--bind", "/proc/sys/net", "/proc/sys/net")
    run("mount", "-o", "remount,bind,ro", "/proc/sys")
    # On a file system of their own: a kubelet takes its disks from the mounts that it finds.
    os.mkdir("/run/kernel")
    mount("tmpfs", "mode=755", "/run/kernel")
    for name, value in settings.KERNEL.items():
        file = Path("/run/kernel", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n", encoding="ascii")
        run("mount", "--bind", str(file), f"/proc/sys/{name}")
    run("hostname", settings.NODE)


def arrange_groups() -> None:
    """Mounts the hierarchies of control groups, from its own groups on."""
    lines = [line.split(":", 2)[1] for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    if lines == [""]:
        mount("cgroup2", "nosuid,nodev,noexec", "/sys/fs/cgroup")
        # A group with processes cannot hand its controllers down.
        own = Path("/sys/fs/cgroup/node")
        own.mkdir()
        (own / "cgroup.procs").write_text("1", encoding="ascii")
        return
    mount("tmpfs", "mode=755", "/sys/fs/cgroup")
    for controllers in lines:
        place = Path("/sys/fs/cgroup", controllers.removeprefix("name=") or "unified")
        place.mkdir()
        if controllers:
            mount("cgroup", f"none,{controllers}" if controllers.startswith("name=") else controllers, str(place))
        else:
            mount("cgroup2", "nosuid,nodev,noexec", str(place))


class Node:
    """Its programs: started in their order, and again if they end."""

    def __init__(self, folder: Path, wanted: dict[str, Any], given: dict[str, int]) -> None:
        self.folder = folder
        self.wanted = wanted
        self.commands = settings.commands(Path(wanted["programs"]), wanted["ports"])
        inward = [f"{descriptor}:{wanted['ports'][name]}" for name, descriptor in given.items() if name != "network"]
        outward = [f":{port}" for port in wanted["outward"]]
        forward = [sys.executable, "-m", "sandbox.cluster.forward", str(given["network"]), settings.ADDRESS]
        self.commands = {"forward": [*forward, *inward, *outward], **self.commands}
        self.given = list(given.values())
        for descriptor in self.given:
            os.set_inheritable(descriptor, False)
        self.running: dict[str, int] = {}
        self.due: dict[str, float] = {}
        self.served = self.said = False
        self.ask_again = 0.0

    def start(self, name: str) -> None:
        """Starts a program."""
        log = str(self.folder / "log" / f"{name}.log")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # What is the machine's goes to nobody else.
        given = [(os.POSIX_SPAWN_DUP2, each, each) for each in self.given] if name == "forward" else []
        environment = {**ENVIRONMENT, MARK: self.wanted["root"]}
        self.running[name] = os.posix_spawnp(
            self.commands[name][0],
            self.commands[name],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                *given,
            ],
        )

    def may_start(self, name: str) -> bool:
        """Whether what a program needs is there: to start all at once would take longer."""
        if name in ("forward", "containerd", "registry", "etcd", "kube-apiserver"):
            return True
        if name == "kubelet":
            return self.answers() and Path(settings.CONTAINERD.removeprefix("unix://")).exists()
        # They end when they may not do yet what they are for.
        return self.ready()

    def answers(self) -> bool:
        """Whether the API server has begun to listen."""
        if not self.served:
            with socket.socket() as probe:
                self.served = probe.connect_ex(("127.0.0.1", self.wanted["ports"]["api"])) == 0
        return self.served

    def ready(self) -> bool:
        """Whether it has said once that it is ready, which it tells nobody before it knows who may what."""
        if not self.said and self.answers() and time.monotonic() >= self.ask_again:
            self.ask_again = time.monotonic() + AGAIN / 2
            context = ssl.create_default_context(cafile=f"{settings.KEYS}/ca.crt")
            with suppress(OSError):
                url = f"https://127.0.0.1:{self.wanted['ports']['api']}/readyz"
                with urllib.request.urlopen(url, timeout=1, context=context) as answer:
                    self.said = answer.status == 200
        return self.said

    def step(self) -> None:
        """Looks after all of them once."""
        self.reap()
        control = self.folder / "control"
        for name in self.commands:
            held = (control / f"{name}.hold").exists()
            if held and name in self.running:
                with suppress(ProcessLookupError):
                    os.kill(self.running[name], signal.SIGKILL)
            elif held:
                (control / f"{name}.held").touch()
            elif name not in self.running and time.monotonic() >= self.due.get(name, 0) and self.may_start(name):
                self.start(name)
                (control / f"{name}.held").unlink(missing_ok=True)

    def reap(self) -> None:
        """Takes note of processes that ended: its own, and those whose parents did."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for name in [name for name, known in self.running.items() if known == pid]:
                del self.running[name]
                self.due[name] = time.monotonic() + AGAIN
                print(f"{name} ended: {os.waitstatus_to_exitcode(status)}", flush=True)


def live(folder: Path, given: dict[str, int]) -> NoReturn:
    """The first process of the namespaces."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    wanted = read(folder)
    furnish(folder, wanted)
    node = Node(folder, wanted, given)
    while True:
        node.step()
        time.sleep(0.05)


if __name__ == "__main__":
    os.umask(0o022)
    if len(sys.argv) == 2:
        enter(Path(sys.argv[1]))
    live(Path(sys.argv[1]), json.loads(sys.argv[2]))
