"""
Any reactor of Twisted's, with the ports, connectors and transports of the lane.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted_tcpdemo.fast import poller
from twisted_tcpdemo.fast.reactor import FastReactor

ON_LANE = [name for name in vars(FastReactor) if name.startswith(("listen", "connect", "adopt"))]
"""The methods of a reactor that the view has of its own."""

FAMILIES = {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}
"""Families that a view adopts itself; for any other it asks its reactor, here for ever."""


def onLane(name: str, stock: Callable[..., Any]) -> Callable[..., Any]:
    """
    Make a method of a reactor.

    @param stock: the reactor's own one.
    """

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("adopt") and args[1] not in FAMILIES:
            return stock(self, *args, **kwargs)
        return getattr(FastReactor(self), name)(*args, **kwargs)

    return method


def putOnLane(reactors: Any) -> None:
    """
    Change a class of reactors.
    """
    for name in ON_LANE:
        setattr(reactors, name, onLane(name, getattr(reactors, name)))
    removeAll = reactors._removeAll

    def forgetting(reactor: Any, *args: Any) -> Any:
        """
        Trial forgets the connections that a test has left open.  The poller must not
        bring them back in the next test.
        """
        poller._pollers.pop(reactor, None)
        return removeAll(reactor, *args)

    reactors._removeAll = forgetting  # what removeAll() of each reactor calls


def count(served: Callable[[], object]) -> None:
    """
    Call a function for each connection that a poller begins to serve.
    """
    add = poller.Poller.add

    def adding(*args: Any) -> None:
        served()
        add(*args)

    poller.Poller.add = adding  # type: ignore[method-assign]
