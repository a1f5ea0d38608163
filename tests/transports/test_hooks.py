"""
Fronts before the hooks of a protocol.
"""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from zope.interface import Interface, alsoProvides, implementer

from tests.support.peers import Peer
from twisted_tcpdemo import TCPDemoProtocol
from twisted_tcpdemo.transports.hooks import HOOKS, Fronts, front, unfront


class Asked:
    """
    Fronts that remember what passed them, and call the hook.
    """

    def __init__(self, protocol: Any) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.fronts: Fronts = {name: self._front(name) for name in HOOKS}
        front(protocol, self.fronts)

    def _front(self, name: str) -> Callable[..., object]:
        def asked(hook: Callable[..., object], *arguments: object) -> object:
            self.heard.append((name, *arguments))
            return hook(*arguments)

        return asked


class Body(Peer):
    """
    A protocol with two states.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []

    def body(self, data: bytes) -> None:
        """
        C{dataReceived} of the second state.
        """
        self.bodies.append(data)


def test_replaced() -> None:
    """
    A hook that the protocol replaces, and takes back again, stays behind its front.
    """
    protocol: Any = Body()
    asked = Asked(protocol)
    protocol.dataReceived(b"a")
    protocol.dataReceived = protocol.body
    protocol.dataReceived(b"b")
    del protocol.dataReceived
    protocol.dataReceived(b"c")
    vars(protocol)["dataReceived"] = protocol.body
    protocol.dataReceived(b"d")
    assert (protocol.received, protocol.bodies) == (b"ac", [b"b", b"d"])
    assert asked.heard == [("dataReceived", data) for data in (b"a", b"b", b"c", b"d")]


def test_keptAfterwards() -> None:
    """
    When the fronts are gone, a replaced hook is still replaced.
    """
    protocol: Any = Body()
    asked = Asked(protocol)
    protocol.dataReceived = protocol.body
    unfront(protocol, asked.fronts)
    protocol.dataReceived(b"a")
    assert (protocol.bodies, asked.heard) == ([b"a"], [])
    del protocol.dataReceived
    with pytest.raises(AttributeError):
        del protocol.dataReceived


def test_nothingToDelete() -> None:
    """
    A hook that was not replaced cannot be deleted, as without a front.
    """
    protocol: Any = Body()
    Asked(protocol)
    with pytest.raises(AttributeError, match="dataReceived"):
        del protocol.dataReceived


def test_replacedEverything() -> None:
    """
    A protocol that replaces all of its attributes goes on without fronts.
    """
    protocol = Body()
    asked = Asked(protocol)
    protocol.__dict__ = {"received": bytearray(), "_waiting": []}
    protocol.dataReceived(b"a")
    assert (protocol.received, asked.heard) == (b"a", [])
    unfront(protocol, asked.fronts)


def test_savedHook() -> None:
    """
    A new hook may call the one that it has replaced.
    """
    protocol: Any = Body()
    Asked(protocol)
    before = protocol.dataReceived
    protocol.dataReceived = lambda data: before(data.upper())
    protocol.dataReceived(b"a")
    assert protocol.received == b"A"


def test_looksTheSame() -> None:
    """
    A protocol with fronts has its own class, interfaces, name and attributes.
    """
    protocol: Any = Body()
    before, attributes = repr(protocol), list(vars(protocol))
    asked = Asked(protocol)
    assert protocol.__class__ is Body and isinstance(protocol, Peer)
    assert repr(protocol) == before
    assert IHalfCloseableProtocol.providedBy(protocol)
    assert type(protocol).dataReceived is Peer.dataReceived
    unfront(protocol, asked.fronts)
    assert type(protocol) is Body
    assert list(vars(protocol)) == attributes


def test_declaredInterface() -> None:
    """
    An interface that one protocol declares for itself is kept.
    """

    class IOwn(Interface):
        pass

    protocol = Body()
    alsoProvides(protocol, IOwn)
    Asked(protocol)
    assert IOwn.providedBy(protocol)


def test_changesItsClass() -> None:
    """
    A protocol whose states are classes keeps its fronts.
    """

    class Second(Body):
        def dataReceived(self, data: bytes) -> None:
            self.body(data)

    protocol = Body()
    asked = Asked(protocol)
    protocol.__class__ = Second
    assert isinstance(protocol, Second) and protocol.__class__ is Second
    protocol.dataReceived(b"a")
    assert (protocol.bodies, asked.heard) == ([b"a"], [("dataReceived", b"a")])
    unfront(protocol, asked.fronts)
    assert type(protocol) is Second


def test_otherFronts() -> None:
    """
    The fronts of a former connection do not take those of the next one along.
    """
    protocol: Any = Body()
    first = Asked(protocol)
    second = Asked(protocol)
    unfront(protocol, first.fronts)
    protocol.dataReceived(b"a")
    assert (first.heard, second.heard) == ([], [("dataReceived", b"a")])
    unfront(protocol, second.fronts)
    unfront(protocol, second.fronts)
    assert type(protocol) is Body


def test_classHearsNothing() -> None:
    """
    A class that keeps a list of its subclasses has none more.
    """
    heard: list[type] = []

    class Meta(type):
        def __init__(cls, *arguments: Any, **options: Any) -> None:
            heard.append(cls)
            super().__init__(*arguments)

    class Listed(TCPDemoProtocol, metaclass=Meta):
        def __init_subclass__(cls, needed: int) -> None:
            heard.append(cls)

    Asked(Listed())
    assert heard == [Listed]


class Slotted(Protocol):
    """
    A protocol with slots.
    """

    __slots__ = ("first", "second")

    def readConnectionLost(self) -> None:
        """
        Do nothing.
        """

    writeConnectionLost = readConnectionLost


class Abstract(ABC):
    """
    A class with an abstract method.
    """

    @abstractmethod
    def needed(self) -> None:
        """
        Do nothing.
        """


class Concrete(Abstract, TCPDemoProtocol):
    """
    A protocol with another metaclass.
    """

    def needed(self) -> None:
        """
        Do nothing.
        """


@implementer(IHalfCloseableProtocol)
class Mixed(Slotted, TCPDemoProtocol):
    """
    A protocol of two kinds.
    """


@pytest.mark.parametrize("kind", [Slotted, Concrete, Mixed, TCPDemoProtocol])
def test_everyClass(kind: type) -> None:
    """
    Protocols of all kinds of classes can have fronts, and lose them again.
    """
    protocol = kind()
    asked = Asked(protocol)
    for name in HOOKS[1:3]:
        getattr(protocol, name)()
    assert asked.heard == [("readConnectionLost",), ("writeConnectionLost",)]
    assert isinstance(protocol, kind) and issubclass(type(protocol), Protocol)
    assert not issubclass(Peer, kind)
    unfront(protocol, asked.fronts)
    assert type(protocol) is kind


def test_classIsFreed() -> None:
    """
    A class whose protocols had fronts can be freed.
    """

    class Brief(TCPDemoProtocol):
        pass

    protocol = Brief()
    unfront(protocol, Asked(protocol).fronts)
    brief = ref(Brief)
    del protocol, Brief
    gc.collect()
    assert brief() is None
