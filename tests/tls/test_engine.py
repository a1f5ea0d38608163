"""
L{twisted_tcpdemo.tls.engine}: the contract, kept by both engines.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any, TypeAlias

import pytest

from tests.support.engines import KINDS, encrypted, engine, libraryErrors, pieces, shaken
from twisted_tcpdemo.tls.engine import RECORD, Engine, StreamBrokenError

Pair: TypeAlias = Callable[..., tuple[Engine, Engine]]


@pytest.fixture(params=product(KINDS, ("client", "server")), ids="-".join)
def pair(request: pytest.FixtureRequest) -> Pair:
    """
    Makes an engine of the kind and side under test, and a peer of the other side.
    """
    kind, side = request.param
    isClient = side == "client"

    def make(shake: bool = True, **options: Any) -> tuple[Engine, Engine]:
        tested = engine(kind, isClient, **options)
        peer = engine("standard", not isClient, **options)
        if shake:
            shaken(tested, peer)
        return tested, peer

    return make


versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


@versions
@pytest.mark.parametrize("size", [1, 3, 100, 1 << 20])
def test_handshake(pair: Pair, version: str, size: int) -> None:
    """
    The handshake ends, however its bytes are split, and bytes go both ways after it.
    """
    tested, peer = pair(shake=False, version=version)
    shaken(tested, peer, size)
    assert peer.decrypt(encrypted(tested, b"there")) == b"there"
    assert tested.decrypt(encrypted(peer, b"back")) == b"back"


@versions
@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, 300_000])
def test_data(pair: Pair, version: str, size: int) -> None:
    """
    Plaintext of any size arrives as it was, in one piece.
    """
    tested, peer = pair(version=version)
    data = bytes(range(256)) * (size // 256 + 1)
    assert tested.decrypt(encrypted(peer, data)) == data
    assert peer.decrypt(encrypted(tested, data)) == data


@pytest.mark.parametrize("size", [1, 3, 4, 5, 6, 1000, 20_000])
def test_split(pair: Pair, size: int) -> None:
    """
    Records may be split anywhere, inside their headers too.
    """
    tested, peer = pair()
    plain = [b"a", b"b" * 5, b"c" * RECORD, b"d" * 40_000, b"e"]
    stream = b"".join(encrypted(peer, data) for data in plain)
    assert b"".join(map(tested.decrypt, pieces(stream, size))) == b"".join(plain)


def test_several(pair: Pair) -> None:
    """
    The plaintext of several records that come together is returned together; an
    incomplete one waits.
    """
    tested, peer = pair()
    stream = b"".join(encrypted(peer, data) for data in (b"one ", b"two ", b"three"))
    assert tested.decrypt(stream[:-1]) == b"one two "
    assert tested.decrypt(b"") == b""
    assert tested.decrypt(stream[-1:]) == b"three"


def test_dataWithHandshake(pair: Pair) -> None:
    """
    Data that comes together with the end of the handshake is not lost.
    """
    tested, peer = pair(shake=False)
    done = {tested: tested.shake(b""), peer: peer.shake(b"")}
    while not done[peer]:
        done[tested] = done[tested] or tested.shake(peer.take(0))
        done[peer] = peer.shake(tested.take(0))
    stream = peer.take(0) + encrypted(peer, b"early")
    if not done[tested]:
        assert tested.shake(stream)
        stream = b""
    assert tested.decrypt(stream) == b"early"


@versions
@pytest.mark.parametrize("before", [b"", b"last", bytes(40_000)])
def test_end(pair: Pair, version: str, before: bytes) -> None:
    """
    The peer's close_notify ends its stream, after the plaintext before it.
    """
    tested, peer = pair(version=version)
    stream = encrypted(peer, before) if before else b""
    assert not tested.over
    peer.end()
    assert tested.decrypt(stream + peer.take(0)) == before
    if not tested.over:
        assert tested.decrypt(b"") == b""  # it is asked for the rest
    assert tested.over


@versions
def test_ends(pair: Pair, version: str) -> None:
    """
    Our close_notify ends our stream, and the peer's bytes arrive after it.
    """
    tested, peer = pair(version=version)
    tested.end()
    assert peer.decrypt(tested.take(0)) == b""
    assert peer.over
    if version == "1.3":  # TLS 1.2 has no half of a connection
        assert tested.decrypt(encrypted(peer, b"late")) == b"late"


def test_endsUnready(pair: Pair) -> None:
    """
    Before the handshake there is no close_notify, and no error.
    """
    pair(shake=False)[0].end()


GARBAGE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_garbageFirst(pair: Pair) -> None:
    """
    Garbage in place of a handshake is an error, with the library's own as its cause.
    """
    tested, _ = pair(shake=False)
    with suppress(StreamBrokenError):
        tested.shake(b"")
    with pytest.raises(StreamBrokenError) as caught:
        tested.shake(GARBAGE)
    assert isinstance(caught.value.cause, libraryErrors())
    assert isinstance(caught.value, OSError)


def test_garbageInHandshake(pair: Pair) -> None:
    """
    Garbage in the handshake is an error.
    """
    tested, peer = pair(shake=False)
    tested.shake(b"")
    peer.shake(tested.take(0))
    with pytest.raises(StreamBrokenError):
        tested.shake(peer.take(0)[:-1] + GARBAGE)


@pytest.mark.parametrize("garbage", [GARBAGE, GARBAGE[:5], b"\x17\x03\x03\x00\x20" + bytes(32)])
def test_garbage(pair: Pair, garbage: bytes) -> None:
    """
    Garbage after the handshake is an error at once, again and again.
    """
    tested, _ = pair()
    for data in (garbage, b""):
        with pytest.raises(StreamBrokenError) as caught:
            tested.decrypt(data)
        assert isinstance(caught.value.cause, libraryErrors())


def test_garbageAfterData(pair: Pair) -> None:
    """
    Plaintext before garbage is returned first, and the error comes with the next call.
    """
    tested, peer = pair()
    assert tested.decrypt(encrypted(peer, b"good") + GARBAGE) == b"good"
    assert tested.over
    with pytest.raises(StreamBrokenError):
        tested.decrypt(b"")


def test_take(pair: Pair) -> None:
    """
    The ciphertext is taken whole, whatever was expected, and once.
    """
    tested, peer = pair()
    data = bytes(200_000)
    count = tested.encrypt(data)
    stream = tested.take(0)
    assert tested.take(count) == b""
    assert peer.decrypt(stream) == data[:count]


@pytest.mark.parametrize("kind", KINDS)
def test_tickets(kind: str) -> None:
    """
    Records without plaintext, such as the tickets of a session, give none, and do not
    hide the plaintext after them.
    """
    client, server = engine(kind, True), engine("standard", False)
    assert not client.shake(b"")
    assert not server.shake(client.take(0))
    assert client.shake(server.take(0))
    assert server.shake(client.take(0))
    tickets = server.take(0)
    assert client.decrypt(tickets[:7]) == b""
    assert client.decrypt(tickets[7:] + encrypted(server, b"data")) == b"data"


@pytest.mark.parametrize("kind", KINDS)
def test_renegotiation(kind: str) -> None:
    """
    A server may ask for another handshake under TLS 1.2; data goes on after it.
    """
    client = engine(kind, True, version="1.2")
    server = engine("openssl", False, version="1.2")
    shaken(client, server)
    connection: Any = server.handle
    assert connection.renegotiate()
    server.shake(b"")
    while made := server.take(0):
        assert client.decrypt(made) == b""
        assert server.decrypt(client.take(0)) == b""
    assert connection.total_renegotiations() == 1
    assert server.decrypt(encrypted(client, b"there")) == b"there"
    assert client.decrypt(encrypted(server, b"back")) == b"back"


@pytest.mark.parametrize("alpn", [False, True])
def test_negotiatedProtocol(pair: Pair, alpn: bool) -> None:
    """
    Both sides know the protocol that ALPN has chosen, or that there is none.
    """
    for side in pair(alpn=alpn):
        assert side.negotiatedProtocol() == (b"h2" if alpn else None)


@pytest.mark.parametrize("kind", KINDS)
def test_peerCertificate(kind: str) -> None:
    """
    A client knows the server's certificate after the handshake, and none before it.
    A server knows none, unless it has asked for one.
    """
    client, server = engine(kind, True), engine(kind, False)
    assert client.peerCertificate() is None
    shaken(client, server)
    certificate: Any = client.peerCertificate()
    if kind == "standard":
        assert ("DNS", "localhost") in certificate["subjectAltName"]
    else:
        assert "localhost" in str(certificate.to_cryptography().subject)
    assert not server.peerCertificate()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("isClient", [False, True])
def test_untrusted(kind: str, isClient: bool) -> None:
    """
    A handshake that a side refuses fails on both, and says why.
    """
    client = engine(kind if isClient else "standard", True)
    server = engine("standard" if isClient else kind, False, version="1.2")
    client.shake(b"")
    with pytest.raises(StreamBrokenError, match=r"version|protocol"):
        server.shake(client.take(0))
    with pytest.raises(StreamBrokenError, match="alert"):
        client.shake(server.take(0))
