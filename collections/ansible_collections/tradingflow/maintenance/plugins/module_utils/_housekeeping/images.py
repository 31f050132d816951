# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of containers that no container uses: told, and removed only by their ids."""

from __future__ import annotations

import json
from typing import Any, Collection, Dict, List, Set

from .._work.asked import Answer, asked
from ..errors import HousekeepingError
from ..words import printable
from .concluded import concluded

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}


class Images:
    """Images of a container program.

    :param program: podman or docker
    :param declared: ids, or digests of registries, of those that may go
    """

    def __init__(self, program: str, declared: Collection[str], arguments: Collection[str] = ()) -> None:
        self.program = program
        self.declared = {each.rpartition("sha256:")[2] for each in declared}
        self.arguments = list(arguments)

    def plan(self) -> Dict[str, Any]:
        """Which are unused, and which of them may go. Nothing is changed.

        :raises HousekeepingError: the program cannot be asked
        """
        unused = self._unused()
        items = [row for row in unused if self.declared & row["ids"]]
        return {
            "items": [{key: row[key] for key in ("name", "bytes", "token")} for row in items],
            "unused": [{key: row[key] for key in ("name", "bytes", "digest")} for row in unused],
        }

    def apply(self, tokens: Collection[str]) -> Dict[str, Any]:
        """Removes what was planned. The program itself refuses when a container has come that uses it."""
        done: Dict[str, Any] = {"removed": [], "failed": [], "freed": 0}
        for row in self._unused():
            if row["token"] in tokens and self.declared & row["ids"]:
                try:
                    answer = self._asked("rmi", "--no-prune", row["digest"])
                except HousekeepingError as error:
                    done["failed"].append({"name": row["name"], "why": error.message})
                    continue
                if answer.status:
                    why = printable(answer.messages.decode("utf-8", "replace").strip(), 200)
                    done["failed"].append({"name": row["name"], "why": why})
                else:
                    done["removed"].append({"name": row["name"], "bytes": row["bytes"]})
                    done["freed"] += row["bytes"]
        return concluded(self.plan, done)

    def _unused(self) -> List[Dict[str, Any]]:
        ids = {_bare(line) for line in self._said("images", "--all", "--no-trunc", "--quiet").split()}
        if not ids:
            return []
        found = json.loads(self._said("image", "inspect", *sorted(ids)))
        used: Set[str] = set()
        containers = self._said("ps", "--all", "--no-trunc", "--quiet").split()
        if containers:
            used = {_bare(each["Image"]) for each in json.loads(self._said("inspect", *containers))}
        parents = {_bare(each.get("Parent") or "") for each in found}
        rows = []
        for each in found:
            id = _bare(each["Id"])
            if id in used or id in parents:
                continue
            digests = {digest.rpartition("sha256:")[2] for digest in each.get("RepoDigests") or []}
            names = [*(each.get("RepoTags") or []), *(each.get("RepoDigests") or []), id[:12]]
            row = {"name": printable(names[0]), "bytes": int(each.get("Size") or 0), "digest": id}
            rows.append({**row, "ids": {id, *digests}, "token": id[:32]})
        return sorted(rows, key=lambda row: str(row["name"]))

    def _said(self, *arguments: str) -> str:
        answer = self._asked(*arguments)
        if answer.status:
            said = printable(answer.messages.decode("utf-8", "replace").strip(), 200)
            raise HousekeepingError(f"{self.program} {arguments[0]} failed: {said}.", "See whether its service runs.")
        return answer.text

    def _asked(self, *arguments: str) -> Answer:
        try:
            return asked([self.program, *self.arguments, *arguments], _ENVIRONMENT, 600)
        except (OSError, TimeoutError) as error:
            raise HousekeepingError(
                f"{self.program} cannot be asked: {error}.", "Correct housekeeping_images, or leave it empty."
            ) from None


def _bare(id: str) -> str:
    return id.rpartition("sha256:")[2]
