"""
The names of hosts.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import MemoryReactorClock

from tests.support.clients import Client, Resolver, closed, to
from tests.support.peers import serving
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory
from twisted_tcpdemo.client.names import checkHost, encoded, familyOf
from twisted_tcpdemo.client.strings import checkString
from twisted_tcpdemo.twistd.programs import Discard


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("127.0.0.1", IPv4Address),
        ("::1", IPv6Address),
        ("fe80::1%lo", IPv6Address),
        ("example.org", None),
        ("my_server", None),
        ("b\u00fccher.example", None),
        ("a" * 63, None),
    ],
)
def test_checkHost(host: str, family: Any) -> None:
    """
    A literal has a family, a name has none.
    """
    assert checkHost(host) is familyOf(host) is family


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("fa\u00df.test", "xn--fa-hia.test"),
        ("B\u00dcCHER.example", "xn--bcher-kva.example"),
        ("b\u00fccher\u3002example", "xn--bcher-kva.example"),
        ("Example.org.", "Example.org."),
        ("my_server", "my_server"),
        ("xn--fa-hia.test", "xn--fa-hia.test"),
        ("::1", "::1"),
    ],
)
def test_encoded(host: str, name: str) -> None:
    """
    A name is encoded as browsers and Node encode it; one in ASCII stays as it is.
    """
    assert encoded(host) == name
    assert encoded(name) == name


@pytest.mark.parametrize("host", ["", "a..b", "\u2603\u0301", "a b", "\u00fc" * 64, "a." * 200])
def test_noName(host: str) -> None:
    """
    Text that is no name is refused.
    """
    with pytest.raises(ValueError, match="host must be a name or an address"):
        encoded(host)


def test_encodedWithoutIDNA(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the package idna Python's own encoding serves, for everything alike.
    """
    monkeypatch.setitem(sys.modules, "idna", None)
    assert encoded("b\u00fccher.example") == "xn--bcher-kva.example"


def test_asTLSChecksIt() -> None:
    """
    The name that is looked up is the name that TLS checks.
    """
    options: Any = optionsForClientTLS("fa\u00df.test")
    assert options._hostnameBytes.decode("ascii") == encoded("fa\u00df.test")


@pytest.mark.parametrize("kind", ["host", "tcp", "tls"])
async def test_oneName(kind: str, resolver: Resolver) -> None:
    """
    A name that the two editions of IDNA encode differently is looked up by the second
    one, whatever the endpoint is made from.
    """
    host = "fa\u00df.test"
    async with serving(TCPDemoFactory(Discard)) as server:
        resolver.addresses = [IPv4Address("TCP", "127.0.0.1", server.port)]
        if kind == "tls":
            connecting = ClientEndpoint.fromString(f"tls:{host}:{server.port}").connectProtocol(
                Client()
            )
            connecting.addErrback(lambda _: None)
            connecting.cancel()
        elif kind == "tcp":
            endpoint = ClientEndpoint.fromString(f"tcp:{host}:{server.port}")
            await closed(await endpoint.connectProtocol(Client()))
        else:
            await closed(await to(server.port, host).connectProtocol(Client()))
        assert [name for name, _ in resolver.asked] == ["xn--fa-hia.test"]
        await server.factory.whenEmpty()


@pytest.mark.parametrize(
    ("description", "given"),
    [
        ("tls:fa\u00df.test:443", "tls:xn--fa-hia.test:443"),
        ("ssl:port=443:host=fa\u00df.test", "ssl:port=443:host=xn--fa-hia.test"),
        (r"tls:fa\u00df:443:trustRoots=/a\:b/fa\u00df".replace("\\u00df", "\u00df"), None),
        (r"tcp:\:\:1:80", None),
    ],
)
def test_string(description: str, given: str | None) -> None:
    """
    In a string, only the host is encoded.
    """
    expected = given or description.replace("fa\u00df", "xn--fa-hia", 1)
    assert checkString(description) == expected


def test_shown() -> None:
    """
    The endpoint shows the name as it was given.
    """
    assert "fa\u00df.test:80" in repr(ClientEndpoint(MemoryReactorClock(), "fa\u00df.test", 80))
