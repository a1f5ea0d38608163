"""
L{twisted_tcpdemo.fast.proxyheader}: PROXY headers, byte by byte.
"""

from __future__ import annotations

import socket
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tests.support.proxies import CLIENT, CRC, LINE, SERVER, SIGNATURE, block, tlv, withChecksum
from twisted_tcpdemo.errors import ProxyHeaderError, TCPDemoError
from twisted_tcpdemo.fast.proxyheader import HeaderParser, ProxyHeader, crc32c

V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + pack("!HH", 4711, 80)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1")
    + pack("!HH", 4711, 80)
)
V6_CLIENT = IPv6Address("TCP", "2001:db8::7", 4711)
MAPPED = IPv6Address("TCP", "::ffff:192.0.2.1", 80)
PATHS = b"/run/client".ljust(108, b"\0") + b"/run/server".ljust(108, b"\0")


def parsed(*pieces: bytes) -> tuple[ProxyHeader, bytes]:
    """
    The header in some pieces, and the bytes behind it.
    """
    parser = HeaderParser()
    rest = b""
    for piece in pieces:
        if parser.header is None:
            parser.feed(piece)
            rest = parser.rest
        else:
            rest += piece
    assert parser.header is not None
    return parser.header, rest


def outcome(*pieces: bytes) -> Any:
    """
    What some pieces give: a header and a rest, an error, or nothing yet.
    """
    try:
        return parsed(*pieces)
    except ProxyHeaderError:
        return ProxyHeaderError
    except AssertionError:
        return None


GOOD: dict[str, tuple[bytes, ProxyHeader]] = {
    "TCP4": (LINE, ProxyHeader(1, CLIENT, SERVER)),
    "TCP6": (
        b"PROXY TCP6 2001:DB8:0::7 ::ffff:192.0.2.1 4711 80\r\n",
        ProxyHeader(1, V6_CLIENT, MAPPED),
    ),
    "TCP6 at full length": (
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        ProxyHeader(1, *[IPv6Address("TCP", ":".join(["ffff"] * 8), 65535)] * 2),
    ),
    "port 0": (
        b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
        ProxyHeader(1, *[IPv4Address("TCP", "0.0.0.0", 0)] * 2),
    ),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", ProxyHeader(1)),
    "UNKNOWN with addresses": (b"PROXY UNKNOWN ffff::1 ffff::1 1 1\r\n", ProxyHeader(1)),
    "UNKNOWN with anything": (b"PROXY UNKNOWN \xff\x00  x".ljust(105) + b"\r\n", ProxyHeader(1)),
    "INET": (block(0x21, 0x11, V4), ProxyHeader(2, CLIENT, SERVER)),
    "INET6": (block(0x21, 0x21, V6), ProxyHeader(2, V6_CLIENT, MAPPED)),
    "UNIX": (
        block(0x21, 0x31, PATHS),
        ProxyHeader(2, UNIXAddress(b"/run/client"), UNIXAddress(b"/run/server")),
    ),
    "UNIX, 108 bytes": (
        block(0x21, 0x31, b"x" * 216),
        ProxyHeader(2, *[UNIXAddress(b"x" * 108)] * 2),
    ),
    "UNIX, unnamed and abstract": (
        block(0x21, 0x31, bytes(108) + b"\0name".ljust(108, b"\0")),
        ProxyHeader(2, UNIXAddress(None), UNIXAddress(b"\0name")),
    ),
    "UNIX, bytes behind the path": (
        block(0x21, 0x31, b"a\0b".ljust(108, b"\0") + b"c".ljust(108, b"\0")),
        ProxyHeader(2, UNIXAddress(b"a"), UNIXAddress(b"c")),
    ),
    "datagrams": (block(0x21, 0x12, V4), ProxyHeader(2)),
    "LOCAL": (block(0x20, 0x00, b""), ProxyHeader(2)),
    "LOCAL with addresses": (block(0x20, 0x11, V4), ProxyHeader(2)),
    "LOCAL with an unknown family": (block(0x20, 0xFF, b"12"), ProxyHeader(2)),
    "LOCAL with values": (
        block(0x20, 0x00, tlv(5, b"id")),
        ProxyHeader(2, tlvs=((5, b"id"),)),
    ),
    "UNSPEC": (block(0x21, 0x00, b""), ProxyHeader(2)),
    "UNSPEC with anything": (block(0x21, 0x00, b"12"), ProxyHeader(2)),
    "a family without a transport": (block(0x21, 0x10, V4), ProxyHeader(2)),
    "values": (
        block(0x21, 0x11, V4 + tlv(1, b"h2") + tlv(0xEA, b"") + tlv(4, bytes(300))),
        ProxyHeader(2, CLIENT, SERVER, ((1, b"h2"), (0xEA, b""), (4, bytes(300)))),
    ),
    "the longest": (
        block(0x21, 0x11, V4 + tlv(4, bytes(65535 - 12 - 3))),
        ProxyHeader(2, CLIENT, SERVER, ((4, bytes(65535 - 12 - 3)),)),
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    """
    A header gives its addresses and values, and the bytes behind it.
    """
    data, header = GOOD[name]
    assert parsed(data) == (header, b"")
    assert parsed(data + b"GET /\r\n") == (header, b"GET /\r\n")


def test_checksum() -> None:
    """
    A checksum is kept like any other value if it is right, wherever it stands.
    """
    for data in (
        withChecksum(0x11, V4 + tlv(1, b"h2") + CRC),
        withChecksum(0x11, V4 + CRC + tlv(1, b"h2")),
        withChecksum(0x00, CRC),
    ):
        header, _ = parsed(data)
        assert len(dict(header.tlvs)[3]) == 4


@pytest.mark.parametrize(
    ("data", "sum32"),
    [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)],
)
def test_crc32c(data: bytes, sum32: int) -> None:
    """
    The checksum is that of the published examples.
    """
    assert crc32c(data) == sum32


WRONG = {
    "another protocol": b"GET / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00",
    "lower case": b"proxy TCP4",
    "two spaces": b"PROXY  TCP4 192.0.2.7 192.0.2.1 4711 80\r\n",
    "two spaces further on": b"PROXY TCP4 192.0.2.7  192.0.2.1 4711 80\r\n",
    "a space at the end": b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80 \r\n",
    "a tab": b"PROXY\tTCP4 192.0.2.7 192.0.2.1 4711 80\r\n",
    "lower case family": b"PROXY tcp4 192.0.2.7 192.0.2.1 4711 80\r\n",
    "another family": b"PROXY UDP4 192.0.2.7 192.0.2.1 4711 80\r\n",
    "more than UNKNOWN": b"PROXY UNKNOWNS\r\n",
    "no family": b"PROXY \r\n",
    "too little": b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n",
    "too much": b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80 1\r\n",
    "IPv6 for IPv4": b"PROXY TCP4 ::1 ::1 4711 80\r\n",
    "IPv4 for IPv6": b"PROXY TCP6 192.0.2.7 192.0.2.1 4711 80\r\n",
    "one of each": b"PROXY TCP4 192.0.2.7 ::1 4711 80\r\n",
    "a leading zero in an address": b"PROXY TCP4 192.0.2.07 192.0.2.1 4711 80\r\n",
    "a short address": b"PROXY TCP4 192.2 192.0.2.1 4711 80\r\n",
    "a hexadecimal address": b"PROXY TCP4 0xC0000207 192.0.2.1 4711 80\r\n",
    "an address with a zone": b"PROXY TCP6 fe80::1%lo ::1 4711 80\r\n",
    "a name": b"PROXY TCP4 localhost 192.0.2.1 4711 80\r\n",
    "a byte 0 in an address": b"PROXY TCP4 192.0.2.7\0 192.0.2.1 4711 80\r\n",
    "digits that are not ASCII": b"PROXY TCP4 192.0.2.\xd9\xa7 192.0.2.1 4711 80\r\n",
    "a leading zero in a port": b"PROXY TCP4 192.0.2.7 192.0.2.1 04711 80\r\n",
    "a signed port": b"PROXY TCP4 192.0.2.7 192.0.2.1 +4711 80\r\n",
    "a negative port": b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 80\r\n",
    "an underscore in a port": b"PROXY TCP4 192.0.2.7 192.0.2.1 4_711 80\r\n",
    "a port that is not ASCII": b"PROXY TCP4 192.0.2.7 192.0.2.1 \xd9\xa7 80\r\n",
    "a port too great": b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 80\r\n",
    "no port": b"PROXY TCP4 192.0.2.7 192.0.2.1  80\r\n",
    "LF alone": b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\n\r\n",
    "108 bytes": b"PROXY UNKNOWN ".ljust(106) + b"\r\n",
    "no end": b"PROXY UNKNOWN ".ljust(107),
    "CR as the 107th byte": b"PROXY UNKNOWN ".ljust(106) + b"\r",
    "version 1 in version 2": SIGNATURE + b"\x11\x11\x00\x0c" + V4,
    "version 3": SIGNATURE + b"\x31",
    "another command": SIGNATURE + b"\x22",
    "another family in 2": SIGNATURE + b"\x21\x41",
    "another transport": SIGNATURE + b"\x21\x13",
    "too short for IPv4": block(0x21, 0x11, V4[:-1]),
    "too short for IPv6": block(0x21, 0x21, V4),
    "too short for UNIX": block(0x21, 0x31, PATHS[:-1]),
    "a value without a length": block(0x21, 0x11, V4 + b"\x01"),
    "half a length": block(0x21, 0x11, V4 + b"\x01\x00"),
    "a value too long": block(0x21, 0x11, V4 + b"\x01\x00\x03h2"),
    "bytes behind the values": block(0x21, 0x11, V4 + tlv(1, b"h2") + b"\0"),
    "a wrong checksum": block(0x21, 0x11, V4 + CRC),
    "a wrong checksum of LOCAL": block(0x20, 0x00, CRC),
    "a checksum too long": withChecksum(0x11, V4 + tlv(3, bytes(5))),
    "an empty checksum": block(0x21, 0x11, V4 + tlv(3, b"")),
    "two checksums": withChecksum(0x11, V4 + CRC + CRC),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str) -> None:
    """
    A malformed header is an error with a short and safe text.
    """
    parser = HeaderParser()
    with pytest.raises(ProxyHeaderError) as caught:
        parser.feed(WRONG[name])
    text = str(caught.value)
    assert isinstance(caught.value, TCPDemoError)
    assert text.isprintable() and len(text) < 400
    assert parser.header is None


@pytest.mark.parametrize("name", WRONG)
def test_wrongInPieces(name: str) -> None:
    """
    A malformed header is an error at any split.
    """
    assert outcome(*(bytes([byte]) for byte in WRONG[name])) is ProxyHeaderError


@pytest.mark.parametrize("data", [LINE, GOOD["values"][0], GOOD["LOCAL"][0]])
def test_unfinished(data: bytes) -> None:
    """
    As long as a byte is missing, nothing is said.
    """
    for end in range(len(data)):
        parser = HeaderParser()
        assert not parser.feed(data[:end])
        assert (parser.header, parser.rest, parser.started) == (None, b"", bool(end))


def test_wanted() -> None:
    """
    It asks for what a long header lacks, and always for something.
    """
    data = GOOD["the longest"][0]
    parser = HeaderParser()
    assert parser.wanted >= 16
    parser.feed(data[:16])
    assert parser.wanted == len(data) - 16
    parser.feed(data[16:-1])
    assert parser.wanted >= 1


@given(some.sampled_from(sorted(GOOD)), some.binary(max_size=30), some.data())
def test_anySplit(name: str, behind: bytes, data: some.DataObject) -> None:
    """
    Any split of a header and the bytes behind it gives the same as one piece.
    """
    stream = GOOD[name][0] + behind
    cuts = data.draw(some.lists(some.integers(0, len(stream)), max_size=8).map(sorted))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parsed(*pieces) == (GOOD[name][1], behind)


@given(
    some.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"]),
    some.binary(max_size=300),
    some.integers(0, 300),
)
def test_garbage(start: bytes, garbage: bytes, cut: int) -> None:
    """
    Whatever a peer sends is a header, an unfinished one, or an error of ours; a
    split changes nothing.
    """
    stream = start + garbage
    assert outcome(stream) == outcome(stream[:cut], stream[cut:])


@given(some.sampled_from(sorted(GOOD)), some.data())
def test_damaged(name: str, data: some.DataObject) -> None:
    """
    A header with one wrong byte raises nothing but the one error.
    """
    stream = bytearray(GOOD[name][0][:400])
    place = data.draw(some.integers(0, len(stream) - 1))
    stream[place] = data.draw(some.integers(0, 255))
    outcome(bytes(stream))
