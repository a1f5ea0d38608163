"""
The look-up of a name.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import DNSLookupError
from twisted.internet.testing import MemoryReactorClock

from tests.support.clients import Client, Resolver, installedReactor, to
from tests.support.waiting import failureOf, until
from twisted_tcpdemo.client.lookup import IPAddress, inOrder, lookUp
from twisted_tcpdemo.errors import NoAddressError


def v4(number: int, port: int = 80) -> IPv4Address:
    """
    An IPv4 address.
    """
    return IPv4Address("TCP", f"192.0.2.{number}", port)


def v6(number: int) -> IPv6Address:
    """
    An IPv6 address.
    """
    return IPv6Address("TCP", f"2001:db8::{number}", 80)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], []),
        ([v4(1), v4(2), v4(1)], [v4(1), v4(2)]),
        ([v4(1), v4(1, 81)], [v4(1), v4(1, 81)]),
        ([v6(1), v6(2), v6(3), v4(1)], [v6(1), v4(1), v6(2), v6(3)]),
        ([v4(1), v4(2), v6(1), v6(2), v6(3)], [v4(1), v6(1), v4(2), v6(2), v6(3)]),
    ],
)
def test_inOrder(found: list[IPAddress], expected: list[IPAddress]) -> None:
    """
    Each address comes once, and the families take turns.
    """
    assert inOrder(found) == expected


async def test_ofTheSystem() -> None:
    """
    The system's own look-up gives addresses of the wanted family.
    """
    [address] = await lookUp(installedReactor(), "localhost", 80, IPv4Address)
    assert address == IPv4Address("TCP", "127.0.0.1", 80)


FAILURES: list[tuple[Exception, str]] = [
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "too many open files"),
    (UnicodeError("label too long"), "label too long"),
]


@pytest.mark.parametrize(("error", "why"), FAILURES, ids=str)
async def test_everyLookUpEnds(error: Exception, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A look-up ends whatever the system says, with an error that names the host; a
    retry finds the address.
    """
    real, asked = socket.getaddrinfo, []

    def ask(host: str, *arguments: Any) -> Any:
        asked.append(host)
        if len(asked) == 1:
            raise error
        return real("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    failure = await failureOf(to(80, "example.test", timeout=None).connectProtocol(Client()))
    assert isinstance(failure, NoAddressError) and isinstance(failure, DNSLookupError)
    assert str(failure) == f"no address was found for example.test: {why}"
    assert failure.host == "example.test"
    assert await lookUp(installedReactor(), "example.test", 80, None)


async def test_noAddress(resolver: Resolver) -> None:
    """
    A name without addresses of the wanted family is an error that says so.
    """
    resolver.addresses = [IPv4Address("TCP", "127.0.0.1", 80)]
    error = await failureOf(lookUp(installedReactor(), "example.test", 80, IPv6Address))
    assert str(error) == "no IPv6 address was found for example.test"
    resolver.addresses = []
    error = await failureOf(lookUp(installedReactor(), "example.test", 80, None))
    assert str(error) == "no address was found for example.test"


async def test_resolverOfTheApplication() -> None:
    """
    The resolver that is installed when the look-up begins is asked.  Its addresses of
    another family are dropped, and what it raises is a look-up that failed.
    """

    class Careless(Resolver):
        def resolveHostName(self, receiver: Any, *arguments: Any, **more: Any) -> Any:
            if self.addresses is None:
                raise ZeroDivisionError("oh")
            super().resolveHostName(receiver, "example.test")

    reactor: Any = MemoryReactorClock()
    reactor.installNameResolver(careless := Careless())
    error = await failureOf(lookUp(reactor, "example.test", 80, None))
    assert str(error) == "no address was found for example.test: oh"
    careless.addresses = [v6(1), v4(1)]
    assert await lookUp(reactor, "example.test", 80, IPv4Address) == [v4(1)]


async def test_spellings(resolver: Resolver) -> None:
    """
    An address is tried once, however a resolver spells it, and an IPv4-mapped one is one
    of IPv4; a scope beside an address is its zone.
    """
    resolver.addresses = [
        IPv6Address("TCP", "2001:db8::7", 80),
        IPv6Address("TCP", "2001:DB8:0:0:0:0:0:7", 80),
        IPv6Address("TCP", "::ffff:192.0.2.1", 80),
        IPv4Address("TCP", "192.0.2.1", 80),
        IPv6Address("TCP", "fe80::1", 80, 0, 99999),
    ]
    assert await lookUp(installedReactor(), "example.test", 80, None) == [
        IPv6Address("TCP", "2001:db8::7", 80),
        IPv4Address("TCP", "192.0.2.1", 80),
        IPv6Address("TCP", "fe80::1%99999", 80),
    ]
    assert await lookUp(installedReactor(), "example.test", 80, IPv4Address) == [
        IPv4Address("TCP", "192.0.2.1", 80)
    ]


async def test_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A look-up that is cancelled before its turn is not asked of the system.
    """
    asked: list[str] = []
    mayGo = threading.Event()

    def slow(host: str, *_: object) -> list[object]:
        asked.append(host)
        mayGo.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    reactor = installedReactor()
    most = reactor.getThreadPool().max
    try:
        first = [lookUp(reactor, f"first{number}.test", 80, None) for number in range(most)]
        others = [lookUp(reactor, "other.test", 80, None) for _ in range(5)]
        await until(lambda: len(asked) == most)
        for other in others:
            other.cancel()
        last = lookUp(reactor, "last.test", 80, None)
    finally:
        mayGo.set()
    for each in [*first, *others, last]:
        await failureOf(each)
    assert "last.test" in asked and "other.test" not in asked
