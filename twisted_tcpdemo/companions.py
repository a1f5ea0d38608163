"""
What runs beside the server: it starts with it, and stops after it has come to
rest, so that a drain can be watched to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred


class Accompanied(Service):
    """
    A service and its companions, as one.
    """

    def __init__(self, service: IService, companions: Sequence[IService]) -> None:
        """
        @param service: what starts first and stops first.
        @param companions: what starts after it, and stops when it has stopped.
        """
        self.service = service
        self.companions = companions

    def privilegedStartService(self) -> None:
        """
        Start what needs the privileges.
        """
        super().privilegedStartService()
        for service in (self.service, *self.companions):
            service.privilegedStartService()

    def startService(self) -> None:
        """
        Start all.
        """
        super().startService()
        for service in (self.service, *self.companions):
            service.startService()

    def stopService(self) -> Deferred[Any]:
        """
        Stop all.

        @return: fires when all have stopped, with what the service's own fires
            with, or fails with its failure.
        """
        super().stopService()
        return maybeDeferred(self.service.stopService).addBoth(self._stopCompanions)

    def _stopCompanions(self, result: Any) -> Deferred[Any]:
        stopping = [maybeDeferred(service.stopService) for service in self.companions]
        return gatherResults(stopping).addCallback(lambda _: result)
