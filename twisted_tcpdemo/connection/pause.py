"""
A pause at the beginning: nothing is read from a new connection yet.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_tcpdemo.shapes import Transport
from twisted_tcpdemo.transports.patches import Patches


class FirstPause:
    """
    Keeps a transport paused until it is resumed, or a time has passed.
    """

    __slots__ = ("_patches", "_resumed", "_timer", "_transport")

    def __init__(
        self,
        transport: Transport,
        clock: IReactorTime,
        resumeAfter: float | None,
        resumed: Callable[[], None],
    ) -> None:
        """
        @param resumeAfter: seconds after which the pause ends by itself; L{None}:
            never.
        @param resumed: is called when the transport reads again.
        """
        self._transport = transport
        self._resumed = resumed
        self._patches = Patches()
        self._timer: IDelayedCall | None = None
        transport.pauseProducing()
        self._patches.place(transport, "resumeProducing", self._resume)
        if resumeAfter is not None:
            self._timer = clock.callLater(resumeAfter, self._resume)

    def _resume(self) -> None:
        self.end()
        self._transport.resumeProducing()
        self._resumed()

    def end(self) -> None:
        """
        Let go of the transport: it reads, or the connection is over.
        """
        self._patches.remove()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
