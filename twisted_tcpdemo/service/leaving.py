"""
The time between the request to stop and the drain.

A load balancer learns that a server goes by its health check, and not at once.  So the
check fails first, while clients are accepted as before.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.shapes import Clock

_log = Logger(namespace="tcpdemo")


class Leaving:
    """
    That time of one server.  It can be cut short.
    """

    def __init__(self, factory: TCPDemoFactory) -> None:
        """
        @param factory: the server, whose C{leaving} is true meanwhile.
        """
        self._factory = factory
        self._waiting: Deferred[None] | None = None
        self._call: IDelayedCall | None = None

    def begin(self, seconds: float, clock: Clock) -> Deferred[None] | None:
        """
        Let health checks fail.  A second call ends the time instead.

        @return: L{None} if there is nothing to wait for.
        """
        if self._waiting is not None or not seconds:
            self.cut()
            return None
        _log.info("leaving: clients are accepted for {delay:g} s more", delay=seconds)
        self._factory.leaving = True
        self._call = clock.callLater(seconds, self.cut)
        self._waiting = Deferred()
        return self._waiting

    def cut(self) -> None:
        """
        End it now.  Nothing happens if it is not under way.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        self._factory.leaving = False
        if self._call is not None and self._call.active():
            self._call.cancel()
        waiting.callback(None)
