# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the chart of a promotion is the one that has soaked: a digest that has proven itself says nothing of it."""

from __future__ import annotations

from typing import List

from .._helm import revisions
from .._helm.client import Helm
from ..checks import CRITICAL, OK, UNKNOWN, WARNING
from ..errors import MaintenanceError, ReleaseError
from ..words import plural
from .clients import part
from .preflight import Finding
from .record import Release
from .session import Session

NAME, TITLE = "soak.chart", "the chart that has soaked"


def findings(target: Session, source: Session, release: Release) -> List[Finding]:
    """None where there is no chart. Charts are compared by what they make of the values that have soaked: production
    may have others.

    :param release: that soaks in source
    """
    given, soaked = bool((target.options.get("helm") or {}).get("chart")), part(release).get("release")
    if not given and not soaked:
        return []
    if not soaked:
        text = "It has soaked without a chart, and is promoted by one: nothing has tried that chart."
        return [Finding(NAME, TITLE, WARNING, "none", text)]
    if not given:
        text = f"It has soaked as the Helm release {soaked}: what its chart has besides the image is not promoted."
        return [Finding(NAME, TITLE, WARNING, "not given", text, "Name the chart (release_chart).")]
    remedy = "Release it with this chart where it soaks, or promote with the chart that has soaked."
    try:
        unlike = _unlike(target, source, str(soaked))
    except MaintenanceError as error:
        text = f"Nobody knows whether this chart has soaked: {error.message}"
        return [Finding(NAME, TITLE, UNKNOWN, None, text, error.remedy)]
    if unlike:
        names = f"{', '.join(unlike[:6])}{' and more' if len(unlike) > 6 else ''}"
        text = f"This chart has not soaked: of the same values it makes {plural(len(unlike), 'other object')}: {names}."
        return [Finding(NAME, TITLE, CRITICAL, len(unlike), text, remedy)]
    return [Finding(NAME, TITLE, OK, 0, "This chart makes of the values that have soaked what has soaked.")]


def _unlike(target: Session, source: Session, name: str) -> List[str]:
    """Names of objects that the chart makes otherwise."""
    good = revisions.last(revisions.revisions(source.cluster, source.namespace, name), revisions.DEPLOYED)
    if good is None:
        raise ReleaseError(f"The Helm release {name} is not deployed in {source.namespace}.", "Look at helm history.")
    content = good.content()
    helm = Helm({**target.options["helm"], "release": name}, source.kubernetes, source.namespace)
    made = revisions.by_name(revisions.without_hooks(helm.rendered(content.get("config") or {})))
    there = revisions.by_name(revisions.objects(content))
    return sorted(each for each in set(made) | set(there) if made.get(each) != there.get(each))
