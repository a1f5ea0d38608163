"""
The functions that are fuzzed: each takes bytes, and raises if a promise is broken.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.cli.operating.web import Answer
from twisted_tcpdemo.cli.outcome import CommandError
from twisted_tcpdemo.cli.parsing.arguments import parser
from twisted_tcpdemo.cli.showing.columns import COLUMNS, Choice
from twisted_tcpdemo.cli.showing.display import Table
from twisted_tcpdemo.cli.showing.table import connections, summary
from twisted_tcpdemo.control import requests
from twisted_tcpdemo.control.routes import ControlSite
from twisted_tcpdemo.errors import ProxyHeaderError
from twisted_tcpdemo.fast.proxyheader import HeaderParser
from twisted_tcpdemo.status.site import StatusSite

CORPUS: Final = Path(__file__).parent / "corpus"

_HERE: Final = IPv4Address("TCP", "127.0.0.1", 80)
_UNSAFE: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of characters that no terminal should get."""

_TOKEN: Final = b"secret"


def _isSafe(text: str) -> bool:
    """
    Whether a terminal takes every character of a text for itself.
    """
    return not any(unicodedata.category(character) in _UNSAFE for character in text)


def _pieces(data: bytes) -> Generator[bytes]:
    """
    Cut bytes in a way that they choose themselves.
    """
    step = 1 + sum(data[:3]) % 40
    for start in range(0, len(data), step):
        yield data[start : start + step]


def proxy(data: bytes) -> None:
    """
    A PROXY header is whole, unfinished, or refused in a short line, and all the same in
    pieces.
    """
    assert _header(iter([data])) == _header(_pieces(data))


def _header(pieces: Generator[bytes] | Any) -> object:
    parsing = HeaderParser()
    rest = b""
    try:
        for piece in pieces:
            if parsing.header is not None:
                rest += piece
            elif piece:
                parsing.feed(piece)
    except ProxyHeaderError as error:
        assert _isSafe(str(error)) and len(str(error)) < 400
        return ProxyHeaderError
    assert parsing.wanted > 0
    return parsing.header, parsing.rest + rest


@contextmanager
def _nothingLogged() -> Generator[None]:
    """
    Fail for a logged error.
    """
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure") or event.get("failure")
        if failure is not None:
            found.append(failure.getTraceback())

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not found, found[0]


def _visit(site: Any, clock: Clock, data: bytes) -> bytes:
    """
    Send a visitor's bytes.

    @return: what it is answered.
    """
    visitor, transport = site.buildProtocol(_HERE), StringTransport(_HERE, _HERE)
    with _nothingLogged():
        visitor.makeConnection(transport)
        for piece in _pieces(data):
            if transport.disconnecting:
                break
            visitor.dataReceived(piece)
        clock.advance(1)
        visitor.connectionLost(Failure(ConnectionDone()))
        clock.advance(100)
    told = transport.value()
    assert not told or told.startswith(b"HTTP/1.")
    return told


@cache
def _server() -> tuple[TCPDemoFactory, Clock, StatusSite, ControlSite]:
    factory, clock = TCPDemoFactory(maxConnections=7), Clock()
    control: Any = ControlSite
    return factory, clock, StatusSite(factory, clock), control(factory, clock, _TOKEN)


def page(data: bytes) -> None:
    """
    Whatever a visitor of the page sends, nothing is logged, and an answer is HTTP.
    """
    _, clock, site, _ = _server()
    _visit(site, clock, data)


def control(data: bytes) -> None:
    """
    Whatever a visitor of control sends without the token, nothing is logged, and nothing
    changes.
    """
    factory, clock, _, site = _server()
    if _TOKEN not in data:
        told = _visit(site, clock, data)
        assert b"HTTP/1.1 2" not in told.replace(b"HTTP/1.1 100 Continue", b"")
    assert (factory.maxConnections, factory.overflow) == (7, "refuse")


def fields(data: bytes) -> None:
    """
    The JSON of control is taken or refused in a sentence.
    """
    for read in (requests.nothing, requests.limits, requests.drain):
        check: Callable[[Any], object] = read
        try:
            check(requests.parsed(data))
        except requests.BadRequestError as error:
            str(error).encode()


def answer(data: bytes) -> None:
    """
    Whatever a server answers, the client shows printable lines.
    """
    told = Answer(500, data)
    lines = [told.error]
    if isinstance(told.value, dict):
        lines += summary(told.value, told.value).lines()
        found = told.value.get("connections")
        for column in COLUMNS:
            chosen = Choice(column.name, filter="1").of(found if isinstance(found, list) else [])
            for part in connections(chosen, (80, 20), told.value.get("filtered")):
                lines += part.lines() if isinstance(part, Table) else [part]
    assert all(map(_isSafe, lines)), lines


def command(data: bytes) -> None:
    """
    Whatever is on the client's command line, it is taken, or refused by one error.
    """
    words = data.decode("utf-8", "surrogateescape").split("\0")
    if {"--version", "--help", "-h", "--print-manual", "--print-completion"} & set(words):
        return  # they print, and end
    with suppress(CommandError):
        parser().parse_args(words)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    function.__name__: function for function in (proxy, page, control, fields, answer, command)
}


def corpus(name: str) -> list[bytes]:
    """
    The kept inputs of a target.
    """
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
