"""
L{twisted_tcpdemo.tls.standard}: what is its own.
"""

from __future__ import annotations

import ssl

import pytest

from tests.support.certificates import pemFile
from tests.support.contexts import PythonContexts
from tests.support.engines import engine
from twisted_tcpdemo.tls.engine import StreamBrokenError
from twisted_tcpdemo.tls.standard import StandardEngine


def refused(client: StandardEngine) -> BaseException:
    """
    Why a client does not accept the server of the tests.
    """
    server = StandardEngine(PythonContexts.server(), False, None)
    client.shake(b"")
    server.shake(client.take(0))
    with pytest.raises(StreamBrokenError) as caught:
        client.shake(server.take(0))
    with pytest.raises(StreamBrokenError, match="alert"):
        server.shake(client.take(0))
    return caught.value.cause


def test_untrusted() -> None:
    """
    An error about a certificate keeps its type, and what it knows.
    """
    error = refused(
        StandardEngine(PythonContexts.client(trusts=pemFile("elsewhere.test")), True, "localhost")
    )
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert error.verify_message.startswith("self-signed") or "self signed" in error.verify_message


def test_wrongName() -> None:
    """
    The certificate has to be of the name that was asked for.
    """
    error = refused(StandardEngine(PythonContexts.client(), True, "example.org"))
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert "example.org" in str(error)


def test_nameOfServer() -> None:
    """
    A server expects no name, whatever it is given.
    """
    assert (
        StandardEngine(PythonContexts.server(), False, "example.org").handle.server_hostname is None
    )


def test_needsToRead() -> None:
    """
    Before the handshake nothing can be encrypted, and that is no error.
    """
    assert engine("standard", True).encrypt(b"data") == 0
    assert engine("standard", False).encrypt(b"data") == 0


def test_brokenWrites() -> None:
    """
    After a failed handshake nothing can be encrypted, which is an error.
    """
    tested = engine("standard", False)
    with pytest.raises(StreamBrokenError):
        tested.shake(b"no TLS at all")
    with pytest.raises(StreamBrokenError):
        tested.encrypt(b"data")
