"""
L{twisted_tcpdemo.fast.offered}: what a factory offers a port, wrapped or not.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.policies import WrappingFactory
from zope.interface import implementer

from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.fast.offered import accountOf, handOverOf
from twisted_tcpdemo.interfaces import IHandOver


@implementer(IHandOver)
class HandOver:
    """
    What takes clients.
    """


def wrapped(factory: Any) -> Any:
    """
    A factory behind two others.
    """
    return WrappingFactory(WrappingFactory(factory))


def test_account() -> None:
    """
    The account of clients is found through wrappers; a foreign factory has none.
    """
    factory = TCPDemoFactory()
    assert accountOf(factory) is accountOf(wrapped(factory)) is factory.heldClients
    foreign: Any = Factory()
    foreign.heldClients = "of another kind"
    assert accountOf(foreign) is accountOf(wrapped(foreign)) is None


def test_handOver() -> None:
    """
    Clients are handed over past no wrapper: they need its protocol.
    """
    factory: Any = TCPDemoFactory()
    assert handOverOf(factory) is None
    factory.handOver = taking = HandOver()
    assert handOverOf(factory) is taking
    assert handOverOf(wrapped(factory)) is None
    factory.handOver = "of another kind"
    assert handOverOf(factory) is None
