"""
The strings of Twisted's client endpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import pemFile
from tests.support.clients import TLS, Client, closed, installedReactor
from tests.support.peers import serving
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory
from twisted_tcpdemo.fast.connector import ClientTransport
from twisted_tcpdemo.twistd.programs import Echo


@pytest.mark.parametrize("description", ["tcp:127.0.0.1:{}", "tcp:host=localhost:port={}"])
async def test_fromString(description: str) -> None:
    """
    Any client string of Twisted's works.
    """
    async with serving(TCPDemoFactory(Echo)) as server:
        endpoint = ClientEndpoint.fromString(description.format(server.port), installedReactor())
        client = await endpoint.connectProtocol(Client())
        client.transport.write(b"hello")
        await client.whenReceived(5)
        assert client.bytesRead == 5
        await closed(client)


@pytest.mark.parametrize(
    "kind", ["tls:127.0.0.1:{}:trustRoots={}", "ssl:127.0.0.1:{}:caCertsDir={}"]
)
async def test_fromStringTLS(kind: str, tmp_path: Path) -> None:
    """
    With a string for TLS, the connection is made when the handshake is done; TLS is
    inside the transport.
    """
    (tmp_path / "ca.pem").write_bytes(pemFile().read_bytes())
    async with serving(TCPDemoFactory(Echo), TLS) as server:
        description = kind.format(server.port, tmp_path)
        client = await ClientEndpoint.fromString(description).connectProtocol(Client())
        assert isinstance(client.transport, ClientTransport)
        assert client.transport.getPeerCertificate() is not None
        await client.write("hello")
        await client.whenReceived(5)
        assert (client.bytesRead, client.bytesWritten) == (5, 5)
        await closed(client)


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("", "Unknown endpoint type"),
        ("nonsense", "Unknown endpoint type"),
        ("nonsense:1", "Unknown endpoint type"),
        ("tcp:host", "tcp:HOST:PORT"),
        ("tcp:", "tcp:HOST:PORT"),
        ("tcp:h:port", "port"),
        ("tcp:h:1:frobnicate=1", "wrong arguments"),
        ("tcp:h:1:2", "wrong arguments"),
        ("tcp:a..b:80", "host"),
        ("TCP:a..b:80", "host"),
        ("tcp:host=a..b:80", "host"),
        ("tcp:80:host=a..b", "host"),
        ("ssl:a..b:80", "host"),
        ("tls:a..b:80", "host"),
        (r"tcp:\[\:\:1\]:80", "brackets"),
        (f"tcp:{'a' * 64}.test:80", "host"),
        ("tcp:h:0", "port"),
        ("tcp:h:65536", "port"),
        ("tcp:h:-1", "port"),
        ("ssl:h:port=99999", "port"),
        ("unix:", "path"),
        (f"unix:path=/{'x' * 200}:timeout=3", "fewer than"),
    ],
)
def test_badString(description: str, why: str) -> None:
    """
    A malformed client string is a clear error when it is given.
    """
    with pytest.raises(ValueError, match="no client endpoint") as raised:
        ClientEndpoint.fromString(description)
    assert why in str(raised.value).partition("no client endpoint: ")[2]


@pytest.mark.parametrize(
    "description", [r"tcp:\:\:1:80", r"tcp:host=fe80\:\:1%lo:port=80", "tcp:my_server:80"]
)
def test_goodString(description: str) -> None:
    """
    A string may have an IPv6 address, or a name with an underscore.
    """
    assert description in repr(ClientEndpoint.fromString(description))


@pytest.mark.parametrize("rest", ["::1:80", "[::1]:80", "2001:db8::1:80", "host=::1:port=80"])
def test_addressWithoutBackslashes(rest: str) -> None:
    """
    The error of an IPv6 address that is spelled as elsewhere says how a string spells it.
    """
    with pytest.raises(ValueError, match="no brackets") as raised:
        ClientEndpoint.fromString(f"tcp:{rest}")
    spelled = str(raised.value).rpartition(": ")[2]
    assert repr(ClientEndpoint.fromString(spelled)) == r"<ClientEndpoint tcp:\:\:1:80>"


def test_stringThatIsNone() -> None:
    """
    An object that is no string is a clear error.
    """
    wrong: Any = b"tcp:h:1"
    with pytest.raises(TypeError, match="str"):
        ClientEndpoint.fromString(wrong)
