"""
Telling others what happens: the fan-out of events, and the log.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.interfaces import IConnectionObserver
from twisted_tcpdemo.values.report import ConnectionReport, Refusal, WatermarkCrossing

_log = Logger(namespace="tcpdemo")


@implementer(IConnectionObserver)
class ConnectionObserver:
    """
    An observer that does nothing: subclass it, and override what you want to
    know.
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
    Any number of observers, told in the order in which they came.
    """

    def __init__(self) -> None:
        self._observers: tuple[IConnectionObserver, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, observer: IConnectionObserver) -> None:
        """
        Tell one more, from the next event on.

        @raise TypeError: if it does not provide L{IConnectionObserver}.
        """
        if not IConnectionObserver.providedBy(observer):
            raise TypeError(f"{observer!r} does not provide IConnectionObserver")
        self._observers += (observer,)

    def remove(self, observer: IConnectionObserver) -> None:
        """
        Tell it no more.  Nothing happens if it was not told.
        """
        self._observers = tuple(other for other in self._observers if other is not observer)

    def tell(self, event: str, fact: Any) -> None:
        """
        Call a method of L{IConnectionObserver} on everybody.  Who raises is
        logged, and the others are told all the same.
        """
        for observer in self._observers:
            try:
                getattr(observer, event)(fact)
            except Exception:
                _log.failure(
                    "observer {observer} raised on {event}", observer=observer, event=event
                )
