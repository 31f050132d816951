# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a trouble is, and what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..layout import State


class Memory:
    """What a trouble wrote down of itself in the sandbox's state: all that healing, in another process, knows."""

    def __init__(self, state: State, name: str) -> None:
        self.state = state
        self.name = name

    def get(self, key: str) -> Any:
        """Something it wrote down, None if it did not come that far."""
        return self.state.get("troubles", {}).get(self.name, {}).get(key)

    def keep(self, **values: Any) -> None:
        """Writes something down. What is about to change must be here before it changes."""
        troubles = self.state.get("troubles", {})
        self.state.update(troubles={**troubles, self.name: {**troubles.get(self.name, {}), **values}})

    def forget(self) -> None:
        """The trouble is over."""
        self.state.update(troubles={k: v for k, v in self.state.get("troubles", {}).items() if k != self.name})


@dataclass(frozen=True)
class Trouble:
    """One way in which the platform can be in trouble.

    :param does: what is done to the platform, as a sentence
    :param undone: how healing takes it back, as a sentence
    :param turns: status by check, while all else is fine: the id without what follows its colon, for exactly one
        check; or an area and ``.*``, for each of its checks that is not named before
    :param do: starts it. It is called again if it did not come to its end, after undo
    :param undo: takes it back, however far it came; does nothing where nothing is to be taken back
    """

    name: str
    does: str
    undone: str
    turns: Mapping[str, str]
    do: Callable[[Memory], None]
    undo: Callable[[Memory], None]


def in_trouble(turns: Mapping[str, str], id: str) -> str | None:
    """The status that a trouble gives to a check, None if it leaves it alone."""
    named = turns.get(id.partition(":")[0])
    return named or turns.get(f"{id.partition('.')[0]}.*")
