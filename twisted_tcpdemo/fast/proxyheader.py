"""
PROXY headers, versions 1 and 2: what a proxy tells of its client.

The rules are those of HAProxy's specification (C{proxy-protocol.txt}).  This module
has no socket: a L{HeaderParser} is fed bytes, in any pieces, until the header is
whole.

  - A header is believed or refused, and never guessed at.  Its beginning is an error as
    soon as it is wrong, all else when the header is whole.
  - LOCAL, UNKNOWN and UNSPEC carry no addresses: the connection keeps those of its
    socket.  So does a datagram's header, which the specification allows.
  - What follows the addresses of version 2 is a list of types and values (TLV).
    All of them are kept.  Only the checksum (CRC-32C) is read, where there is one.
  - A receiver has to accept LOCAL and UNSPEC whatever their block holds.  Their TLVs
    are kept if the block is a list of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from twisted_tcpdemo.errors import ProxyHeaderError
from twisted_tcpdemo.values.text import printable

Address: TypeAlias = IPv4Address | IPv6Address | UNIXAddress
TLVs: TypeAlias = tuple[tuple[int, bytes], ...]

LONGEST_LINE: Final = 107
"""Bytes of a header of version 1, its end of line included."""

FIRST_LOOK: Final = 256
"""Bytes that hold nearly every header."""

CRC32C: Final = 0x03
"""The type of the checksum."""

_LINE: Final = b"PROXY "
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = len(_SIGNATURE) + 4

_USUAL: Final = _SIGNATURE + b"\x21\x11\x00\x0c"
"""The beginning of most headers: TCP over IPv4, and nothing behind the addresses."""

_USUAL_SIZE: Final = _FIXED + 12

_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")
_GREATEST_PORT: Final = 65535

_INET: Final = Struct("!4s4sHH")
_INET6: Final = Struct("!16s16sHH")
_UNIX: Final = Struct("108s108s")
_ADDRESSES: Final = {1: _INET, 2: _INET6, 3: _UNIX}

_SHOWN: Final = 60
"""Bytes of a wrong header that an error shows."""


class ProxyHeader(NamedTuple):
    """
    A header.

    @ivar version: C{1} or C{2}.
    @ivar source: the address of the client; L{None} if the header has no addresses.
    @ivar destination: the address to which the client has connected; L{None} with
        C{source}.
    @ivar tlvs: the types and values of version 2, in their order.
    """

    version: int
    source: Address | None = None
    destination: Address | None = None
    tlvs: TLVs = ()


class Proxied(NamedTuple):
    """
    What a transport behind a proxy knows beside the client's addresses.

    @ivar header: the header.
    @ivar peer: the proxy's own address.
    @ivar host: the address to which the proxy has connected.
    """

    header: ProxyHeader
    peer: IAddress
    host: IAddress


class HeaderParser:
    """
    Parses one header, fed in pieces.

    @ivar header: the header, once it is whole.
    @ivar rest: bytes behind the header that have been fed with it.
    """

    __slots__ = ("_seen", "_wanted", "header", "rest")

    def __init__(self) -> None:
        self.header: ProxyHeader | None = None
        self.rest = b""
        self._seen = b""
        self._wanted = FIRST_LOOK

    @property
    def started(self) -> bool:
        """
        Whether it was fed a byte.
        """
        return bool(self._seen)

    @property
    def wanted(self) -> int:
        """
        How many bytes to feed: at least what the header lacks, and never 0.
        """
        return max(FIRST_LOOK, self._wanted - len(self._seen))

    def feed(self, data: bytes) -> bool:
        """
        Take bytes.

        @return: whether the header is whole.
        @raise ProxyHeaderError: if it is wrong.
        """
        self._seen = seen = self._seen + data if self._seen else data
        self.header, size = headerIn(seen)
        self._wanted = size or self._wanted
        if self.header is None:
            return False
        self.rest = seen[size:]
        return True


def headerIn(seen: bytes) -> tuple[ProxyHeader | None, int]:
    """
    The header at the beginning of some bytes.

    @return: the header and its size.  As long as it is not whole: L{None}, and its
        size if that is known, else C{0}.
    @raise ProxyHeaderError: if it is wrong.
    """
    parse: Callable[[bytes], ProxyHeader]
    if seen.startswith(_USUAL) and len(seen) >= _USUAL_SIZE:
        source, destination, port, toPort = _INET.unpack_from(seen, _FIXED)
        client = IPv4Address("TCP", inet_ntop(AF_INET, source), port)
        return ProxyHeader(2, client, _destination(destination, toPort)), _USUAL_SIZE
    if seen.startswith(_SIGNATURE):
        size, parse = _blockSize(seen), _fromBlock
    elif seen.startswith(_LINE):
        size, parse = _lineSize(seen), _fromLine
    elif _SIGNATURE.startswith(seen) or _LINE.startswith(seen):
        return None, 0
    else:
        raise ProxyHeaderError(f"the header begins with {_shown(seen)}")
    if not size or len(seen) < size:
        return None, size
    return parse(seen[:size]), size


def _shown(data: bytes) -> str:
    return f"'{printable(data, _SHOWN)}'"


# Version 1.


def _lineSize(seen: bytes) -> int:
    """
    The size of a header of version 1; C{0} as long as its end has not come.
    """
    end = seen.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0 and len(seen) >= LONGEST_LINE:
        raise ProxyHeaderError(f"no end of the line: {_shown(seen)}")
    return end + 2 if end >= 0 else 0


def _fromLine(line: bytes) -> ProxyHeader:
    words = line[len(_LINE) : -2].split(b" ")
    if words[0] == b"UNKNOWN":
        return ProxyHeader(1)
    family = {b"TCP4": AF_INET, b"TCP6": AF_INET6}.get(words[0])
    if family is None or len(words) != 5:
        raise ProxyHeaderError(f"no addresses and ports in {_shown(line)}")
    ports = [int(word) if _PORT.fullmatch(word) else -1 for word in words[3:]]
    try:
        hosts = [inet_ntop(family, inet_pton(family, word.decode("ascii"))) for word in words[1:3]]
    except (OSError, ValueError):
        raise ProxyHeaderError(f"no address of {words[0].decode()}: {_shown(line)}") from None
    if not 0 <= min(ports) <= max(ports) <= _GREATEST_PORT:
        raise ProxyHeaderError(f"no port from 0 to 65535: {_shown(line)}")
    kind = IPv4Address if family == AF_INET else IPv6Address
    source, destination = (kind("TCP", *end) for end in zip(hosts, ports, strict=True))
    return ProxyHeader(1, source, destination)


# Version 2.


def _blockSize(seen: bytes) -> int:
    """
    The size of a header of version 2; C{0} as long as it cannot be known.
    """
    if len(seen) > 12 and seen[12] not in {0x20, 0x21}:
        raise ProxyHeaderError(f"no version and command of the header: {seen[12]:#04x}")
    if len(seen) > 13 and (seen[13] >> 4 > 3 or seen[13] & 15 > 2) and seen[12] == 0x21:
        raise ProxyHeaderError(f"no family and transport of the header: {seen[13]:#04x}")
    return _FIXED + int.from_bytes(seen[14:16], "big") if len(seen) >= _FIXED else 0


def _fromBlock(block: bytes) -> ProxyHeader:
    family, transport = block[13] >> 4, block[13] & 15
    if block[12] == 0x20 or not family or not transport:
        return ProxyHeader(2, None, None, _looseTLVs(block))
    form = _ADDRESSES[family]
    end = _FIXED + form.size
    if len(block) < end:
        raise ProxyHeaderError(f"{len(block) - _FIXED} bytes are too few for its addresses")
    tlvs = _strictTLVs(block, end) if len(block) > end else ()
    if transport != 1:
        return ProxyHeader(2, None, None, tlvs)
    if family == 3:
        source, destination = form.unpack_from(block, _FIXED)
        return ProxyHeader(2, _path(source), _path(destination), tlvs)
    source, destination, port, toPort = form.unpack_from(block, _FIXED)
    client = _packed(source, port)
    return ProxyHeader(2, client, _destination(destination, toPort), tlvs)


def _packed(host: bytes, port: int) -> IPv4Address | IPv6Address:
    if len(host) == 4:
        return IPv4Address("TCP", inet_ntop(AF_INET, host), port)
    return IPv6Address("TCP", inet_ntop(AF_INET6, host), port)


# The clients of a proxy are many, their destinations few.
_destination: Final = lru_cache(maxsize=64)(_packed)


def _path(name: bytes) -> UNIXAddress:
    """
    The address of a UNIX socket.  A first byte of 0 begins an abstract name.
    """
    abstract = name.rstrip(b"\0") if name.startswith(b"\0") else b""
    return UNIXAddress(abstract or name.partition(b"\0")[0] or None)


def _strictTLVs(block: bytes, start: int) -> TLVs:
    """
    The types and values of a header, after their checksum has been checked.
    """
    tlvs = []
    place, sum32 = start, -1
    while place < len(block):
        end = place + 3 + int.from_bytes(block[place + 1 : place + 3], "big")
        if place + 3 > len(block) or end > len(block):
            raise ProxyHeaderError("the last of its values is longer than the header")
        if block[place] == CRC32C:
            if sum32 >= 0 or end != place + 7:
                raise ProxyHeaderError("its checksum is no single value of 4 bytes")
            sum32 = place + 3
        tlvs.append((block[place], block[place + 3 : end]))
        place = end
    if sum32 >= 0:
        told = int.from_bytes(block[sum32 : sum32 + 4], "big")
        if told != crc32c(block[:sum32] + bytes(4) + block[sum32 + 4 :]):
            raise ProxyHeaderError("its checksum is wrong")
    return tuple(tlvs)


def _looseTLVs(block: bytes) -> TLVs:
    """
    The types and values of a header that has to be accepted whatever it holds; none
    if its block is not a list of them, or if it says that addresses come first.
    """
    if block[13]:
        return ()
    place = _FIXED
    while place + 3 <= len(block):
        place += 3 + int.from_bytes(block[place + 1 : place + 3], "big")
    return _strictTLVs(block, _FIXED) if place == len(block) else ()


@lru_cache(maxsize=1)
def _remainders() -> list[int]:
    table = []
    for byte in range(256):
        rest = byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
        table.append(rest)
    return table


def crc32c(data: bytes) -> int:
    """
    The CRC-32C (Castagnoli) of bytes, as iSCSI has it (RFC 3720, appendix B.4).
    """
    table, rest = _remainders(), 0xFFFFFFFF
    for byte in data:
        rest = rest >> 8 ^ table[(rest ^ byte) & 0xFF]
    return rest ^ 0xFFFFFFFF
