# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command line: python -m sandbox up|down|status|path|start|stop|restart|trouble|heal|hosts-up|hosts-down|cluster-up|
cluster-down."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from . import lifecycle
from .layout import SERVICES, Layout, SandboxError


def main(arguments: list[str] | None = None) -> int:
    """Runs a command. Returns 0, or 1 if the sandbox is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A whole TradingFlow on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it; nothing to do if it runs")
    up.add_argument("--size", choices=lifecycle.SIZES, help="of the history (default: default)")
    up.add_argument("--seed", type=int, help="of the history (default: 1)")
    up.add_argument("--without-app", action="store_true", help="do not start the sample service")
    up.add_argument(
        "--newer-than", type=float, metavar="HOURS", help="build it anew, same size and seed, if its history is older"
    )
    commands.add_parser("down", help="stop it and delete all of it")
    status = commands.add_parser("status", help="what is where; exit code 0 only if all is healthy")
    status.add_argument("--json", action="store_true")
    path = commands.add_parser("path", help="where its state file is")
    path.add_argument("--hosts", action="store_true", help="where the inventory of its hosts is")
    path.add_argument("--kubeconfig", action="store_true", help="where the kubeconfig of its cluster is")
    path.add_argument("--admin-kubeconfig", action="store_true", help="and the one of an administrator")
    path.add_argument(
        "--helm", type=int, choices=(3, 4), help="where the program helm of a major version is, built once"
    )
    commands.add_parser("hosts-up", help="boot its managed hosts; nothing to do if they run")
    commands.add_parser("hosts-down", help="end them and delete what is theirs")
    commands.add_parser("cluster-up", help="start its Kubernetes, with the application; nothing to do if it runs")
    commands.add_parser("cluster-down", help="end it and delete what is its own")
    for name in ("start", "stop", "restart"):
        command = commands.add_parser(name, help=f"{name} one service; data and ports stay")
        command.add_argument("service", choices=SERVICES)
    command = commands.add_parser("trouble", help="bring it into trouble on purpose")
    command.add_argument("name", nargs="?", help="which (without one: the list)")
    command.add_argument("--list", action="store_true", help="all of them, and what each does to the checks")
    commands.add_parser("heal", help="end all troubles")
    options = parser.parse_args(arguments)
    layout = Layout()
    try:
        if options.command == "up":
            if options.newer_than is not None and (kept := lifecycle.outdated(layout, options.newer_than)):
                # Nothing trades after a history's end, so its venue statements go stale, as they should.
                print(f"The history of the sandbox is older than {options.newer_than:g} h: building it anew.")
                lifecycle.down(layout)
                options.size, options.seed = kept["size"], kept["seed"]
            lines = lifecycle.up(layout, size=options.size, seed=options.seed, with_app=not options.without_app)
            print("\n".join(lines) if lines else "The sandbox is up.")
        elif options.command == "down":
            print("\n".join(lifecycle.down(layout)) or "There is no sandbox.")
        elif options.command == "trouble":
            from . import trouble  # it needs the client of the database, which nothing else here does

            listed = options.list or not options.name
            print("\n".join(trouble.listed(layout)) if listed else trouble.begin(layout, options.name))
        elif options.command == "heal":
            from . import trouble

            print("\n".join(trouble.heal(layout)) or "There is no trouble.")
        elif options.command == "path" and (options.kubeconfig or options.admin_kubeconfig):
            from .cluster import cluster

            print(cluster.kubeconfig(layout, admin=options.admin_kubeconfig))
        elif options.command == "path" and options.helm:
            from .cluster import helm

            print(helm.program(options.helm, lambda line: print(line, file=sys.stderr, flush=True)))
        elif options.command == "path":
            from .hosts import fleet

            print(fleet.inventory_file(layout) if options.hosts else layout.state_file)
        elif options.command in ("cluster-up", "cluster-down"):
            from .cluster import cluster

            if options.command == "cluster-up":
                started = cluster.up(layout, lambda line: print(line, flush=True))
                print("\n".join(started) if started else "The cluster is up.")
            else:
                print("\n".join(cluster.down(layout)) or "There is no cluster.")
        elif options.command in ("hosts-up", "hosts-down"):
            from .hosts import fleet

            if options.command == "hosts-up":
                booted = fleet.up(layout)
                following = "Next: make patch ARGS=--check shows what would be patched; make hosts-down ends them."
                print("\n".join([*booted, following]) if booted else "The hosts are up.")
            else:
                print("\n".join(fleet.down(layout)) or "There are no hosts.")
        elif options.command == "status":
            found = lifecycle.status(layout)
            print(json.dumps(found, indent=1) if options.json else describe(found))
            return 0 if found["healthy"] else 1
        else:
            getattr(lifecycle, options.command)(layout, options.service)
    except (SandboxError, OSError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


def describe(status: dict[str, Any]) -> str:
    """The status as text."""
    if not status["services"]:
        return "There is no sandbox. Run: python -m sandbox up"
    lines = []
    for name, service in status["services"].items():
        version = f" {service['version']}" if service["version"] else ""
        lines.append(f"{name}{version}: {service['status']}, {service['address']}, pid {service['pid'] or '-'}")
        if service["problem"]:
            lines.append(f"  problem: {service['problem']}")
        lines.append(f"  data: {service['data_dir']} ({service['size'] / 1e6:.0f} MB)")
        lines.append(f"  log: {service['log_file']}")
    if not status["complete"]:
        lines.append("The last start did not finish. Run: python -m sandbox up")
    elif status["history"]:
        history = status["history"]
        lines.append(
            f"history: {sum(history['rows'].values()):,} rows, size {history['size']}, seed {history['seed']},"
            f" up to {history['anchor']}"
        )
    if cluster := status.get("cluster"):
        lines.append(f"cluster: {cluster['status']}, {cluster['address']}")
    if status.get("troubles"):
        lines.append(f"in trouble on purpose: {', '.join(status['troubles'])}; python -m sandbox heal ends it")
    lines.append(f"all in {status['data_root']} ({status['size'] / 1e6:.0f} MB), state in {status['state_file']}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
