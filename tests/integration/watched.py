"""Progress that is measured at every tick: what a phase is measured by must be there as long as the phase."""

from __future__ import annotations

from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress


class Watched(Progress):
    """As when somebody watches, whose looks come only now and then."""

    def tick(self) -> None:
        self._measure()
        super().tick()
