# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of hosts, by node_exporter, against the thresholds of their checks."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from .._checks.mounts import PSEUDO, READ_ONLY
from ..checks import limits
from .measures import LEVELS, Measure, measured, part, percent, rest, series_of, used, whole
from .rule import Rule, constant, instances, missing, selector, text


def _space(own: str) -> str:
    # As df counts, and the check: of what users other than root can have.
    size, free, avail = (selector(f"node_filesystem_{name}_bytes", own) for name in ("size", "free", "avail"))
    return f"100 * ({size} - {free}) / ({size} - {free} + {avail})"


HOST: List[Measure] = [
    (
        *("memory_available", "TradingFlowMemoryAvailable", "%", True),
        percent("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"),
        ("node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"),
        series_of(("node_memory_MemAvailable_bytes", part), ("node_memory_MemTotal_bytes", whole)),
        '{{ $value | printf "%.1f" }} % of the memory of {{ $labels.instance }} is available.',
        "Find the largest processes (ps aux --sort=-rss | head) and restart or limit them, or add memory.",
    ),
    (
        *("swap_used", "TradingFlowSwapUsed", "%", False),
        used("node_memory_SwapTotal_bytes", "node_memory_SwapFree_bytes"),
        ("node_memory_SwapTotal_bytes", "node_memory_SwapFree_bytes"),
        series_of(("node_memory_SwapTotal_bytes", whole), ("node_memory_SwapFree_bytes", rest)),
        '{{ $value | printf "%.1f" }} % of the swap of {{ $labels.instance }} is used.',
        "Memory was short: find out what grew (ps aux --sort=-rss | head) before it slows trading down.",
    ),
    (
        *("load", "TradingFlowLoad", "", False),
        lambda own: (
            f"sum by (instance) ({selector('node_load5', own)}) / "
            f"count by (instance) ({selector('node_cpu_seconds_total', own, 'mode=' + text('idle'))})"
        ),
        ("node_load5", 'node_cpu_seconds_total{mode="idle"}'),
        lambda labels, value: [
            constant(selector("node_load5", labels), 2 * value),
            *(constant(selector("node_cpu_seconds_total", labels, f'mode="idle",cpu="{cpu}"'), 1) for cpu in (0, 1)),
        ],
        'The load of {{ $labels.instance }} is {{ $value | printf "%.1f" }} per core.',
        "See what runs (top) and whether it waits for disks (vmstat 1: column wa) or for processors.",
    ),
]
DISK: List[Measure] = [
    (
        *("disk_space", "TradingFlowDiskSpace", "%", False),
        _space,
        ("node_filesystem_size_bytes", "node_filesystem_free_bytes", "node_filesystem_avail_bytes"),
        series_of(
            ("node_filesystem_size_bytes", whole),
            ("node_filesystem_free_bytes", rest),
            ("node_filesystem_avail_bytes", rest),
        ),
        '{{ $labels.mountpoint }} of {{ $labels.instance }} is {{ $value | printf "%.1f" }} % full.',
        "Free space on {{ $labels.mountpoint }} (du -xh {{ $labels.mountpoint }} | sort -h | tail) or enlarge it.",
    ),
    (
        *("inodes", "TradingFlowInodes", "%", False),
        used("node_filesystem_files", "node_filesystem_files_free"),
        ("node_filesystem_files", "node_filesystem_files_free"),
        series_of(("node_filesystem_files", whole), ("node_filesystem_files_free", rest)),
        '{{ $value | printf "%.1f" }} % of the inodes of {{ $labels.mountpoint }} of {{ $labels.instance }} are used.',
        "Find the folder with very many small files (du --inodes -x {{ $labels.mountpoint }} | sort -n | tail).",
    ),
]


def grouped(targets: Sequence[Dict[str, Any]], key: Callable[[Dict[str, Any]], Any]) -> List[Tuple[Any, List[str]]]:
    """Hosts that have the same, in their order: (what, names)."""
    result: List[Tuple[Any, List[str]]] = []
    for target in targets:
        had = key(target)
        members = next((members for what, members in result if what == had), None)
        if members is None:
            result.append((had, members := []))
        members.append(target["name"])
    return result


def hosts(options: Dict[str, Any]) -> Iterator[Rule]:
    """What node_exporter says of each host, and of mounts with thresholds of their own."""
    targets, selected = options["targets"] or [], options["selectors"]["node"]
    yield from _gone(targets, selected)
    for measure in HOST:
        for level in LEVELS:
            for limit, members in grouped(targets, partial(_limit, name=measure[0], level=level)):
                own = _joined(selected, instances(members))
                labels = _joined(selected, f'instance="{members[0]}:9100"')
                yield from measured(measure, {level: limit}, own, labels, members)
    for measure in DISK:
        for level in LEVELS:
            yield from _disks(measure, level, targets, selected)


def _gone(targets: Sequence[Dict[str, Any]], selected: str) -> Iterator[Rule]:
    """A host of which nothing is heard: all rules with thresholds are silent then.

    By node_exporter's own series and not by up, which the host's other exporters have too.
    """
    for target in targets:
        name = target["name"]
        series = selector("node_load5", _joined(selected, f'instance="{name}:9100"'))
        yield Rule(
            "TradingFlowHostDown",
            f"absent({selector('node_load5', _joined(selected, instances([name])))})",
            "critical",
            f"node_exporter of {name} is not heard: the host, the exporter or its scrape is gone.",
            "Check that the host runs, that node_exporter does, and that Prometheus reaches it.",
            hold="2m",
            firing=[missing(series)],
            silent=[constant(series, 1)],
            host=name,
        )


def _disks(measure: Measure, level: str, targets: Sequence[Dict[str, Any]], selected: str) -> Iterator[Rule]:
    # Those that the checks leave out, too.
    kinds = f"fstype!~{text('|'.join(sorted(PSEUDO | READ_ONLY)))}"
    for limit, members in grouped(targets, partial(_limit, name=measure[0], level=level)):
        own = _joined(selected, instances(members), kinds)
        labels = _joined(selected, f'instance="{members[0]}:9100",mountpoint="/elsewhere"')
        named = [
            selector(measure[5][0], instances([target["name"]]), f"mountpoint={text(mount['path'])}")
            for target in targets
            for mount in target["mounts"]
            if target["name"] in members
        ]
        besides = f" unless on (instance, mountpoint) ({' or '.join(named)})" if named else ""
        yield from measured(measure, {level: limit}, own, labels, members, besides=besides)
    mounts = [
        {"name": target["name"], "is": (mount["path"], _limit(target, measure[0], level, mount))}
        for target in targets
        for mount in target["mounts"]
        if not mount["ignore"]
    ]
    for (path, limit), members in grouped(mounts, itemgetter("is")):
        place = f"mountpoint={text(path)}"
        own = _joined(selected, instances(members), place)
        labels = _joined(selected, f'instance="{members[0]}:9100"', place)
        yield from measured(measure, {level: limit}, own, labels, members, mount=path)


def _limit(target: Dict[str, Any], name: str, level: str, mount: Optional[Dict[str, Any]] = None) -> Optional[float]:
    """A host's threshold, or a mount's own where that has one, as the checks have it."""
    own = limits(mount, name)[level] if mount else None
    general: Optional[float] = limits(target["thresholds"], name)[level]
    return general if own is None else own


def _joined(*matchers: str) -> str:
    return ",".join(filter(None, matchers))
