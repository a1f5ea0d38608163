"""
PROXY headers, and the addresses in them.
"""

from __future__ import annotations

from socket import socket, socketpair
from struct import pack
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from twisted_tcpdemo.fast.poller import Poller
from twisted_tcpdemo.fast.proxied import HeaderStage
from twisted_tcpdemo.fast.proxy import Proxy
from twisted_tcpdemo.fast.proxyheader import ProxyHeader, crc32c

CLIENT = IPv4Address("TCP", "192.0.2.7", 4711)
SERVER = IPv4Address("TCP", "192.0.2.1", 80)
LINE = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"

CRC = b"\x03\x00\x04\x00\x00\x00\x00"
"""A checksum that is still to be filled in."""


def block(command: int, family: int, data: bytes) -> bytes:
    """
    A header of version 2.

    @param command: the byte of version and command.
    @param family: the byte of family and transport.
    @param data: addresses and values.
    """
    return SIGNATURE + bytes([command, family]) + pack("!H", len(data)) + data


def tlv(kind: int, value: bytes) -> bytes:
    """
    A type and a value.
    """
    return pack("!BH", kind, len(value)) + value


def withChecksum(family: int, data: bytes) -> bytes:
    """
    A header of version 2 whose first checksum is right.
    """
    header = block(0x21, family, data)
    place = 16 + data.index(b"\x03\x00") + 3
    return header[:place] + pack("!I", crc32c(header)) + header[place + 4 :]


class Turning(Clock):
    """
    A clock with the methods of a reactor that a poller calls.
    """

    def addReader(self, reader: object) -> None:
        """
        Do nothing: a test calls the poller itself.
        """

    removeReader = addReader

    def addSystemEventTrigger(self, *args: object) -> None:
        """
        Do nothing: it never stops.
        """

    removeSystemEventTrigger = addSystemEventTrigger


class FakeDoor:
    """
    A port that keeps the clients that its stage connects.

    @ivar connected: their sockets, addresses and headers.
    """

    def __init__(self, factory: object = None) -> None:
        self.reactor: Any = Turning()
        self.poller = Poller(self.reactor)
        self.factory = factory
        self.isFull = False
        self.connected: list[tuple[socket, IAddress, ProxyHeader]] = []

    def connect(self, client: socket, name: object, peer: IAddress, header: ProxyHeader) -> None:
        """
        Keep a client.
        """
        self.connected.append((client, peer, header))

    def setFull(self, isFull: bool) -> None:
        """
        Remember whether it is full.
        """
        self.isFull = isFull

    def hostOf(self, client: socket) -> IAddress:
        """
        An address.
        """
        return UNIXAddress(b"/run/server")

    def logPrefix(self) -> str:
        """
        A prefix.
        """
        return "door"


class Stage:
    """
    A stage with a fake door, and clients over socket pairs.
    """

    def __init__(self, factory: object = None, timeout: float = 5.0) -> None:
        self.door = FakeDoor(factory)
        self.stage = HeaderStage(self.door, Proxy(trusted=["unix"], timeout=timeout))
        self.clock: Turning = self.door.reactor
        self._open: list[socket] = []

    def client(self, data: bytes = b"") -> socket:
        """
        Connect a client.

        @param data: bytes that are there when it is accepted.
        """
        ours, theirs = socketpair()
        theirs.setblocking(False)
        self._open += [ours, theirs]
        if data:
            theirs.send(data)
        self.stage.receive(ours, "", UNIXAddress(None))
        return theirs

    def turn(self) -> None:
        """
        Let the poller serve, and calls that are due happen.
        """
        self.door.poller.doRead()
        self.clock.advance(0)

    def close(self) -> None:
        """
        Stop, and close what is left.
        """
        self.stage.stop(False)
        for each in self._open:
            each.close()
