"""
The fan-out of a server's events to its observers.
"""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.interfaces import IConnectionObserver
from twisted_tcpdemo.shapes import Observer
from twisted_tcpdemo.values.report import ConnectionReport, Refusal, WatermarkCrossing

_log = Logger(namespace="tcpdemo")


@implementer(IConnectionObserver)
class ConnectionObserver:
    """
    An observer that does nothing.  Subclass it, and override the events that you
    want to know of.
    """

    def listening(self, address: IAddress) -> None:
        """
        See L{IConnectionObserver}.
        """

    def listeningStopped(self, address: IAddress) -> None:
        """
        See L{IConnectionObserver}.
        """

    def connectionOpened(self, report: ConnectionReport) -> None:
        """
        See L{IConnectionObserver}.
        """

    def connectionRefused(self, refusal: Refusal) -> None:
        """
        See L{IConnectionObserver}.
        """

    def connectionClosed(self, report: ConnectionReport) -> None:
        """
        See L{IConnectionObserver}.
        """

    def watermarkCrossed(self, crossing: WatermarkCrossing) -> None:
        """
        See L{IConnectionObserver}.
        """

    def serverError(self, failure: Failure) -> None:
        """
        See L{IConnectionObserver}.
        """


class Observers:
    """
    Observers, told in the order in which they were added.

    @ivar present: the observers; only L{add} and L{remove} change them.
    """

    def __init__(self) -> None:
        self.present: tuple[Observer, ...] = ()

    def add(self, observer: Observer) -> None:
        """
        Tell an observer of every event from now on.

        @raise TypeError: if it does not provide L{IConnectionObserver}.
        """
        if not IConnectionObserver.providedBy(observer):
            raise TypeError(f"{observer!r} does not provide IConnectionObserver")
        self.present += (observer,)

    def remove(self, observer: Observer) -> None:
        """
        Tell an observer no more.  Nothing happens if it was not told.
        """
        self.present = tuple(other for other in self.present if other is not observer)

    def tell(self, event: str, fact: object) -> None:
        """
        Call a method of L{IConnectionObserver} on each observer.  What one
        raises is logged, and the others are called all the same.
        """
        for observer in self.present:
            try:
                getattr(observer, event)(fact)
            except BaseException:
                _log.failure(
                    "observer {observer} raised on {event}", observer=observer, event=event
                )
