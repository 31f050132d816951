# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore has done so far, in a private file that outlives it: the next run goes by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

from .._isolation.processes import mark
from ..errors import ConfigurationError
from ..run import write_private
from .outside import of_cluster


class State:
    """The file.

    :param data: run (its steps, empty when none is unfinished) and kept (what lies aside until it is removed)
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.data: Dict[str, Any] = {"run": {}, "kept": []}
        try:
            read = json.loads(path.read_text(encoding="utf-8"))
            self.data.update({key: read[key] for key in self.data})
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ConfigurationError(
                f"The file of the last restore, {path}, cannot be read: {error}.",
                "See by hand whether it left anything (databases tradingflow_restoring_*), then remove the file.",
            ) from None

    @property
    def run(self) -> Dict[str, Any]:
        """Of the run that did not end."""
        found: Dict[str, Any] = self.data["run"]
        return found

    @property
    def kept(self) -> List[Dict[str, Any]]:
        """What lies aside: kind, name, recovery_point, at; of a directory its mark and spaces, see outside."""
        found: List[Dict[str, Any]] = self.data["kept"]
        return found

    def check_kind(self, *parts: str) -> None:
        """Raises ConfigurationError when a run of another kind was interrupted between two things it put in place.

        :param parts: what only runs of another kind put in place
        """
        if any(name.startswith("abandon_") and value for name, value in self.run.items()):
            raise ConfigurationError(
                f"The restore {self.run.get('id')} was being abandoned, which did not end.",
                "Run that again: restore_abandon=true.",
            )
        if any(self.run.get(part) for part in parts):
            mode, point = self.run.get("mode"), self.run.get("recovery_point")
            raise ConfigurationError(
                f"The restore {self.run.get('id')} was interrupted while it put things in place.",
                f"End that one first: run it again with restore_mode={mode}, restore_recovery_point={point}, or go back"
                " to what was there with restore_abandon=true.",
            )

    def begin(self, **values: Any) -> None:
        """A run begins."""
        self.data["run"] = values
        self._save()

    def note(self, **values: Any) -> None:
        """What will be done next, or was."""
        self.run.update(values)
        self._save()

    def keep(self, kind: str, name: str, recovery_point: str, at: str) -> None:
        """Something was put aside; saying it twice is well."""
        if not any(each["name"] == name and each["kind"] == kind for each in self.kept):
            entry: Dict[str, Any] = {"kind": kind, "name": name, "recovery_point": recovery_point, "at": at}
            if kind == "directory":
                entry.update(mark=mark(name), spaces=of_cluster(Path(name)))
            self.kept.append(entry)
        self._save()

    def forget(self, name: str) -> None:
        """Something that lay aside is gone."""
        self.data["kept"] = [each for each in self.kept if each["name"] != name]
        self._save()

    def end(self) -> None:
        """The run ended, and left nothing to be cleaned."""
        self.data["run"] = {}
        self._save()

    def _save(self) -> None:
        write_private(self._path, json.dumps(self.data, indent=1))
