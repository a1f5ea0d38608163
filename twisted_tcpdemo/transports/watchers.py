"""
Several watchers of one transport.

A factory may serve with the protocols of another factory, each with a limit and accounts
of its own.  The transport has one place for a watcher; two share it by L{Both}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.interfaces import ITransportWatcher


@implementer(ITransportWatcher)
class Both:
    """
    Two watchers of one transport: what one hears, the other hears too.

    @ivar outer: the one that was there first.
    @ivar inner: that of the protocol which the outer one's protocol carries.
    """

    __slots__ = ("inner", "outer")

    def __init__(self, outer: ITransportWatcher, inner: ITransportWatcher) -> None:
        self.outer = outer
        self.inner = inner

    def transportFlushed(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        self.inner.transportFlushed()
        self.outer.transportFlushed()

    def transportWaiting(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        self.inner.transportWaiting()
        self.outer.transportWaiting()

    def transportClosing(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        self.inner.transportClosing()
        self.outer.transportClosing()

    def transportAborting(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        self.inner.transportAborting()
        self.outer.transportAborting()

    def transportEncrypting(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        self.inner.transportEncrypting()
        self.outer.transportEncrypting()

    def deliveryFailed(self) -> None:
        """
        See L{ITransportWatcher}.
        """
        self.inner.deliveryFailed()
        self.outer.deliveryFailed()

    def transportReadEnded(self, tell: Callable[[], object]) -> bool:
        """
        See L{ITransportWatcher}.
        """
        ends: list[bool] = []
        isEnd = self.outer.transportReadEnded(
            lambda: ends.append(self.inner.transportReadEnded(tell))
        )
        return isEnd or any(ends)

    def transportWriteEnded(self, tell: Callable[[], object]) -> None:
        """
        See L{ITransportWatcher}.
        """
        self.outer.transportWriteEnded(lambda: self.inner.transportWriteEnded(tell))

    def transportLost(self, reason: Failure) -> None:
        """
        See L{ITransportWatcher}.
        """
        try:
            self.inner.transportLost(reason)
        finally:
            self.outer.transportLost(reason)


def joined(watcher: ITransportWatcher | None, inner: ITransportWatcher) -> ITransportWatcher:
    """
    What watches a transport from now on.

    @param watcher: what has watched it, if anything has.
    @param inner: the newest watcher.
    """
    return inner if watcher is None else Both(watcher, inner)


def innermost(watcher: object) -> object:
    """
    The newest watcher of those that share a transport.
    """
    while isinstance(watcher, Both):
        watcher = watcher.inner
    return watcher


def without(watcher: ITransportWatcher | None, gone: object) -> ITransportWatcher | None:
    """
    What watches a transport when one watcher has gone.
    """
    if not isinstance(watcher, Both):
        return None if watcher is gone else watcher
    outer, inner = without(watcher.outer, gone), without(watcher.inner, gone)
    return inner if outer is None else outer if inner is None else Both(outer, inner)
