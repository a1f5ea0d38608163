"""
The errors of a client say what happened, and where.
"""

from __future__ import annotations

import copy
import errno
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import error as twistedErrors
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
    UnknownHostError,
)
from twisted.python.failure import Failure

from tests.support.clients import (
    Client,
    Resolver,
    cancelled,
    closed,
    freePort,
    installedReactor,
    silentServer,
    to,
)
from tests.support.contexts import TwistedContexts
from tests.support.descriptors import noFreeDescriptor
from tests.support.peers import serving
from tests.support.waiting import failureOf
from twisted_tcpdemo import ClientEndpoint, CloseReason, TCPDemoFactory, errors
from twisted_tcpdemo.client.failures import allFailed, attemptOf, explained
from twisted_tcpdemo.errors import (
    ConnectFailedError,
    NoAddressError,
)
from twisted_tcpdemo.twistd.programs import Discard

PEER = IPv4Address("TCP", "192.0.2.1", 80)


# One error.


ERRORS: list[tuple[Exception, str]] = [
    (ConnectionRefusedError(111, "Connection refused"), "was refused"),
    (TCPTimedOutError(110, "Connection timed out"), "timed out"),
    (TimeoutError(), "timed out"),
    (TimeoutError(string="after 2 s"), "timed out after 2 s"),
    (NoRouteError(101, "Network is unreachable"), "failed: network is unreachable"),
    (ConnectError(errno.EHOSTUNREACH, "No route to host"), "failed: no route to host"),
    (ConnectError(string="odd"), "failed: odd"),
    (ConnectError(), "failed: an error occurred while connecting"),
    (ConnectError(errno.EIO, "I/O error"), f"failed: {os.strerror(errno.EIO).lower()[:5]}"),
    (ConnectionLost(), "was lost before it was ready"),
    (ConnectionDone(), "was closed by the other side before it was ready"),
    (ConnectBindError(errno.EMFILE, "Too many open files"), "failed: no file descriptor is free"),
    (OSError(errno.ENFILE, "Too many open files in system"), "failed: no file descriptor is free"),
    (
        ConnectBindError(errno.EADDRINUSE, "Address already in use"),
        "failed: the local address cannot be used: address already in use",
    ),
]


@pytest.mark.parametrize(("error", "reason"), ERRORS, ids=lambda value: repr(value)[:40])
def test_explained(error: Exception, reason: str) -> None:
    """
    Each error of the network becomes one of ours, which is a sentence, names the
    address, and is still one of Twisted's class.
    """
    ours: Any = explained(Failure(error), "192.0.2.1:80", PEER).value
    assert str(ours).startswith(f"connection to 192.0.2.1:80 {reason}".rstrip())
    assert isinstance(ours, ConnectFailedError)
    assert isinstance(ours, ConnectError if isinstance(error, OSError) else type(error))
    assert ours.address == PEER and ours.__cause__ is error
    assert ours.osError == (getattr(error, "osError", None) or getattr(error, "errno", None))
    assert str(copy.copy(ours)) == str(ours)


def test_everyClass() -> None:
    """
    Every way in which Twisted says that a connection was not made has a class of
    ours.
    """
    kinds = [k for k in vars(twistedErrors).values() if isinstance(k, type)]
    kinds = [k for k in kinds if issubclass(k, (ConnectError, twistedErrors.ConnectionClosed))]
    kinds = [k for k in kinds if not k.__name__.startswith("Process")]
    assert len(kinds) > 10
    for kind in kinds:
        ours = explained(Failure(kind()), "h:1", None).value
        assert isinstance(ours, kind) and str(ours).startswith("connection to h:1 ")


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), OSError(errno.ENOENT, "no key"), ConnectFailedError("x")]
)
def test_leftAlone(error: Exception) -> None:
    """
    Errors of the application, of foreign endpoints, and of ours stay what they are.
    """
    failure = Failure(error)
    assert explained(failure, "h:1", None) is failure


def test_lookUpOfTwisted() -> None:
    """
    A look-up of Twisted's own that failed is one of ours.
    """
    error = explained(Failure(DNSLookupError("no such host")), "ssl:h:1", None).value
    assert isinstance(error, NoAddressError)
    assert str(error) == "no address was found for ssl:h:1: no such host"


def test_zone() -> None:
    """
    An IPv6 address in a zone that does not exist is one error, as the other side's
    address or as this one's.
    """
    there = attemptOf(IPv6Address("TCP", "::1%nope", 80), socket.gaierror(-2, "Name or service"))
    assert str(there) == "[::1%nope]:80 failed: there is no network interface of this name"
    here = attemptOf(PEER, ConnectBindError(-2, "Name or service not known"), "::1%nope")
    assert str(here) == (
        "192.0.2.1:80 failed: the local address ::1%nope cannot be used: there is no network "
        "interface of this name"
    )


def test_manyAttempts() -> None:
    """
    The text shows some addresses, the attribute has all.
    """
    attempts = [attemptOf(PEER, ConnectionRefusedError())] * 9
    error = allFailed("h:80", twistedAddress(), attempts)
    assert str(error).endswith("; 192.0.2.1:80 was refused; and 1 more")
    assert len(error.attempts) == 9


def twistedAddress() -> Any:
    """
    The address of a name.
    """
    return to(80, "h")._address


# Where each comes from.


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_refused(host: str) -> None:
    """
    A refusal names the address.
    """
    port = freePort()
    error: Any = await failureOf(to(port, host).connectProtocol(Client()))
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    assert str(error) == f"connection to {shown} was refused"
    assert (error.address.host, error.address.port) == (host, port)
    assert [attempt.address for attempt in error.attempts] == [error.address]


async def test_path(tmp_path: Path) -> None:
    """
    A path without a listener is named.
    """
    path = tmp_path / "nothing"
    endpoint = ClientEndpoint(installedReactor(), path=path)
    error: Any = await failureOf(endpoint.connectProtocol(Client()))
    assert str(error) == f"connection to unix:{path} failed: no such file or directory"
    assert isinstance(error, ConnectError) and error.address == UNIXAddress(os.fsencode(path))


async def test_fd(resources: ExitStack) -> None:
    """
    A socket that is not connected is named by its descriptor.
    """
    lone = resources.enter_context(socket.socket())
    endpoint = ClientEndpoint(installedReactor(), fd=lone.fileno())
    error = await failureOf(endpoint.connectProtocol(Client()))
    words = os.strerror(errno.ENOTCONN)
    expected = f"connection to fd {lone.fileno()} failed: {words[0].lower()}{words[1:]}"
    assert str(error) == expected and isinstance(error, ConnectFailedError)


async def test_bind(resources: ExitStack) -> None:
    """
    A local address that cannot be used is named, too.
    """
    taken = resources.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    port = freePort()
    endpoint = to(port, localAddress="127.0.0.1", localPort=taken)
    error: Any = await failureOf(endpoint.connectProtocol(Client()))
    assert str(error) == (
        f"connection to 127.0.0.1:{port} failed: the local address 127.0.0.1:{taken} cannot be "
        "used: address already in use"
    )
    assert isinstance(error, ConnectBindError)
    assert error.localAddress == f"127.0.0.1:{taken}"


async def test_handshake(resources: ExitStack) -> None:
    """
    A peer that leaves during the TLS handshake is named.
    """
    listener = resources.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = listener.getsockname()[1]
    connecting = to(port, tls=TwistedContexts.client()).connectProtocol(Client())

    def leave() -> None:
        listener.accept()[0].close()

    installedReactor().callLater(0.05, leave)
    error = await failureOf(connecting)
    assert str(error).startswith(f"connection to 127.0.0.1:{port} (TLS) was ")


@pytest.mark.parametrize("host", ["::ffff:127.0.0.1", "0:0:0:0:0:ffff:7f00:1"])
async def test_spelling(host: str) -> None:
    """
    An error names an address in its one spelling.
    """
    port = freePort()
    error = await failureOf(
        to(port, host, localAddress="::ffff:127.0.0.1").connectProtocol(Client())
    )
    assert str(error) == f"connection to 127.0.0.1:{port} was refused"
    assert error.attempts[0].address == IPv4Address("TCP", "127.0.0.1", port)
    assert error.localAddress == "127.0.0.1"


async def test_noSuchZone() -> None:
    """
    An address in a zone that does not exist fails in a sentence, and is tried again:
    the interface may come.
    """
    error = await failureOf(to(80, "::1%nope", retry=1).connectProtocol(Client()))
    assert isinstance(error, UnknownHostError)
    assert str(error) == (
        "connection to [::1%nope]:80 failed: there is no network interface of this name"
    )
    connecting = to(80, "::1%nope", retry=2).connectProtocol(Client())
    assert not connecting.called
    await cancelled(connecting)


@pytest.mark.parametrize("kind", ["host", "path", "fd", "string", "name"])
async def test_noDescriptor(
    kind: str, resources: ExitStack, resolver: Resolver, tmp_path: Path
) -> None:
    """
    Without a free descriptor each attempt ends with an error that says so, and with
    one again the same endpoint connects.
    """
    path = tmp_path / "s"
    factory = TCPDemoFactory(Discard)
    async with serving(factory, f"unix:{path}" if kind == "path" else "tcp:0") as server:
        reactor, endpoint = installedReactor(), None
        if kind == "path":
            endpoint = ClientEndpoint(reactor, path=path)
        elif kind == "string":
            endpoint = ClientEndpoint.fromString(f"tcp:127.0.0.1:{server.port}")
        elif kind == "fd":
            ours = socket.create_connection(("127.0.0.1", server.port))
            fd = resources.enter_context(ours).fileno()
        else:
            endpoint = to(server.port, "127.0.0.1" if kind == "host" else "example.test")
            resolver.addresses = [IPv4Address("TCP", "127.0.0.1", server.port)]
        with noFreeDescriptor():
            if endpoint is None:
                endpoint = ClientEndpoint(reactor, fd=fd)
            error = await failureOf(endpoint.connectProtocol(Client()))
        assert isinstance(error, ConnectFailedError)
        assert str(error).endswith("failed: no file descriptor is free")
        await closed(await endpoint.connectProtocol(Client()))


async def test_noDescriptorForALookUp() -> None:
    """
    Without a free descriptor a look-up ends, too.
    """
    endpoint = to(80, "example.test", timeout=None)
    with noFreeDescriptor():
        error = await failureOf(endpoint.connectProtocol(Client()))
    assert isinstance(error, NoAddressError)
    assert str(error).startswith("no address was found for example.test")


async def test_cancelled(resources: ExitStack) -> None:
    """
    A call that was cancelled says so in a sentence.
    """
    port = silentServer(resources, full=True)
    error = await cancelled(to(port).connectProtocol(Client()))
    assert str(error) == f"connection to 127.0.0.1:{port} was cancelled"


def test_everyErrorIsASentence() -> None:
    """
    The text of every error of this package is a sentence.
    """
    made = [
        errors.ListeningStoppedError(),
        errors.TLSNotInstalledError(),
        errors.NotConnectedError(),
        errors.ConnectCancelledError(None),
        errors.ConnectCancelledError(PEER, name="h:1"),
        errors.ConnectFailedError("connection to h:1 failed"),
        errors.NoAddressError("h"),
        *(errors.WriteFailedError(reason) for reason in (None, *CloseReason)),
    ]
    for error in made:
        assert " " in str(error) and "object" not in str(error) and "(" not in str(error)[:1]
