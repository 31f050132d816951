# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the chart of a promotion is the one that has soaked: a digest that has proven itself says nothing of it."""

from __future__ import annotations

from typing import List

from .._helm import revisions
from .._helm.client import Helm
from ..checks import CRITICAL, OK, WARNING
from ..errors import ReleaseError
from ..words import plural, printable
from .clients import part
from .options import ROLLING
from .preflight import Finding
from .record import Release
from .session import Session

#: Passed by as values are: both say that something else goes to production than what has soaked.
NAME, TITLE = "values.chart", "the chart"


def findings(target: Session, source: Session, release: Release) -> List[Finding]:
    """Whether it comes to target as it came to where it soaks: by that chart, or by none. Charts are compared by what
    they make of the values that have soaked: production may have others.

    :param release: that soaks in source
    """
    options, soaked = target.options, part(release).get("release")
    given = str(options["helm"]["chart"] or "")
    if not given and not soaked:
        return []
    remedy = "Promote by the chart that soaked (release_chart); or release_promote_overrides: [values], with a reason."
    if not given:
        text = f"{release.tag} soaked by a chart: without it, only the image of what soaked is promoted."
        # These strategies go from Deployment to Deployment, as whoever chose one knows.
        status = CRITICAL if options["strategy"] == ROLLING else WARNING
        return [Finding(NAME, TITLE, status, "none", text, remedy)]
    if not soaked:
        text = f"{release.tag} soaked by no chart: {printable(given, 100)} has not soaked."
        return [Finding(NAME, TITLE, CRITICAL, "not soaked", text, remedy)]
    unlike = _unlike(target, source, str(soaked))
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
