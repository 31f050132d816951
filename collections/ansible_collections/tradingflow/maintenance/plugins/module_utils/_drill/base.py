# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a drill asks of an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Type

from .._postgres.instance import Instance
from .._recovery_points.files import check_files
from .._work.progress import Progress
from ..checks import Check


class Engine(ABC):
    """One way to bring a recovery point back: fetch, bring_up, and after the proof finish.

    :param tools: paths of its programs
    :param folder: ours, in which everything happens
    :param instance: of the class ``server``
    """

    #: As in a recovery point's engine.name.
    name = ""
    #: Of PostgreSQL, all from one place.
    programs: Tuple[str, ...] = ()
    #: Whether programs of a newer major version than the recovery point's will do.
    newer = True
    server: Type[Instance] = Instance

    def __init__(
        self,
        options: Dict[str, Any],
        point: Dict[str, Any],
        tools: Dict[str, str],
        folder: Path,
        instance: Instance,
        s3: Any,
    ) -> None:
        self.options = options
        self.point = point
        self.tools = tools
        self.folder = folder
        self.instance = instance
        self.s3 = s3
        #: Where the recovery point's own objects are after fetch.
        self.objects = folder / "objects"
        #: What else there is to say of how it came up.
        self.found: List[Check] = []

    @staticmethod
    @abstractmethod
    def space(point: Dict[str, Any]) -> int:
        """Bytes that a drill needs on the disk at once."""

    @classmethod
    def check(cls, options: Dict[str, Any], point: Dict[str, Any], s3: Any) -> None:
        """Whether what it needs besides its programs is there. Changes nothing.

        :raises ConfigurationError: it is not
        :raises RestoreError: this version does not know how the files are stored
        """
        check_files(options, point, s3, Path(options["scratch_directory"]))

    @abstractmethod
    def fetch(self, progress: Progress) -> None:
        """Brings all objects, each compared with what is recorded.

        :raises RestoreError: one is not as recorded
        :raises StorageError: the store does not answer
        """

    @abstractmethod
    def bring_up(self, progress: Progress) -> str:
        """Brings the instance to the state that rows and digests were recorded of.

        :returns: the restored database's name
        :raises RestoreError: with PostgreSQL's message
        """

    def reader(self, name: str) -> Optional[Dict[str, Any]]:
        """The option "database" for the restored one, as whoever looks at it.

        None: only a superuser could, as whom the functions of views would run.
        """
        return self.instance.database(name)

    def finish(self, progress: Progress) -> List[Check]:
        """Brings the instance from there to where a restore after a disaster would end, and says what is there.

        :returns: nothing when it is there already
        :raises RestoreError: with PostgreSQL's message
        """
        return []

    def hand_over(self) -> None:  # noqa: B027 most have nothing to do
        """Before the application is started on it: everything is as a restore would leave it."""
