# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Last-good: what runs before a change, whole, so that an undo does not depend on revisions that the cluster prunes."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from .._kubernetes.workloads import Seen, container, digest_of, running_digests, same_template, with_image
from ..database import connected, quoted
from ..errors import ReleaseError
from .record import LastGood, Release
from .target import repository_of, tag_of

_PLACE = """SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'alembic_version' AND c.relkind = 'r' ORDER BY n.nspname <> 'public', 1 LIMIT 1"""


def schema_heads(database: Optional[Dict[str, Any]]) -> Optional[List[str]]:
    """The revisions that a database's schema is at; None when none is named, or it keeps none.

    :raises DatabaseError: it does not answer, or does not let us
    """
    if not database:
        return None
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(_PLACE)
        place = cursor.fetchone()
        if place is None:
            return None
        cursor.execute(f"SELECT version_num FROM {quoted(place[0])}.alembic_version ORDER BY 1")  # noqa: S608 quoted
        return [str(row[0]) for row in cursor.fetchall()]


def of(
    seen: Seen,
    name: str,
    configuration: Dict[str, str],
    heads: Optional[List[str]],
    schemas: List[str],
) -> LastGood:
    """What runs now. Its image is pinned by the digest that the pods run, so that a tag that moves takes nothing along.

    :param heads: of the schema now
    :param schemas: revisions with which its image works, as far as somebody says
    :raises ReleaseError: pods do not say which digest they run, or run several
    """
    image = str(container(seen.template, name)["image"])
    digest = digest_of(image)
    template = seen.template
    if digest is None:
        running = {running_digests(pod, name) for pod in seen.pods_of(seen.current())}
        if len(running) != 1 or None in running:
            raise ReleaseError(
                f"It cannot be told which image runs now: {image} is named by its tag, and the pods do not agree.",
                "Wait until the rollout of now is over, or name the image by its digest.",
            )
        digest = next(each for each in running if each is not None)
        tag = tag_of(image)
        pinned = f"{repository_of(image)}{f':{tag}' if tag else ''}@{digest}"
        template = with_image(template, name, pinned)
    return LastGood(
        digest=digest,
        image=str(container(template, name)["image"]),
        template=template,
        configuration=configuration,
        replicas=seen.replicas,
        schema_head=",".join(heads) if heads else None,
        more={"schemas": schemas, "was": image},
    )


def released_template(release: Release) -> Optional[Dict[str, Any]]:
    """The pod template that a release put in place; None when it has no last-good."""
    if release.previous is None:
        return None
    made = release.previous.more.get("released")
    if isinstance(made, dict):
        return made  # a chart's
    return with_image(release.previous.template, release.container, image_of(release))


def image_of(release: Release) -> str:
    """The image of a release as the pod template names it."""
    return f"{release.image}:{release.tag}@{release.digest}" if release.tag else f"{release.image}@{release.digest}"


def is_back(seen: Seen, previous: LastGood, name: str) -> bool:
    """Whether the template is last-good's, be its image named by digest, or by the tag of before whose pods run it."""
    if same_template(seen.template, previous.template):
        return True
    was = previous.more.get("was")
    if not isinstance(was, str) or not same_template(seen.template, with_image(previous.template, name, was)):
        return False
    pods = seen.pods_of(seen.current())
    return bool(pods) and all(running_digests(pod, name) == previous.digest for pod in pods)


def replicasets_of(seen: Seen, name: str, digest: str) -> List[Dict[str, Any]]:
    """Those whose pods would run a digest."""
    return [
        each
        for each in seen.replicasets
        if digest in {digest_of(str(one["image"])) for one in _named(each["spec"]["template"], name)}
    ]


def _named(template: Mapping[str, Any], name: str) -> List[Dict[str, Any]]:
    return [each for each in template["spec"]["containers"] if each["name"] == name]
