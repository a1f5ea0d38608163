"""
Where to connect, in the words of the command line.
"""

from __future__ import annotations

import pytest
from twisted.internet.testing import MemoryReactorClock

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.parsing.arguments import parser
from twisted_tcpdemo.cli.places import named, placeFor, proxyLine, verifies
from twisted_tcpdemo.fast.proxyheader import HeaderParser

V4, V6 = ("192.0.2.7", 4711), ("2001:db8::7", 4711)


@pytest.mark.parametrize(
    ("source", "target", "line"),
    [
        (V4, ("192.0.2.1", 80), b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"),
        (V6, ("2001:db8::1", 80), b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n"),
        (V4, ("::1", 80), b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 80\r\n"),
        (V6, ("127.0.0.1", 80), b"PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 4711 80\r\n"),
        (("fe80::1%lo", 1), ("fe80::2%lo", 2), b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"),
        (V4, ("", 0), b"PROXY TCP4 192.0.2.7 0.0.0.0 4711 0\r\n"),
        (("", 0), ("", 0), b"PROXY UNKNOWN\r\n"),
    ],
)
def test_proxyLine(source: tuple[str, int], target: tuple[str, int], line: bytes) -> None:
    """
    A PROXY header has two addresses of one family, or none, and this package's own parser
    takes it.
    """
    assert proxyLine(source, target) == line
    header = HeaderParser()
    assert header.feed(line)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("localhost 80", "localhost:80"),
        ("[::1] 80", "[::1]:80"),
        ("--tls example.test 443", "example.test:443 (TLS)"),
        ("tls:example.test:443", "example.test:443 (TLS)"),
        (r"tls:\:\:1:443", "[::1]:443 (TLS)"),
        ("--insecure tls:example.test:443", "example.test:443 (TLS)"),
        ("-4 tcp:example.test:80", "example.test:80"),
        ("tcp:example.test:80:timeout=3", "tcp:example.test:80:timeout=3"),
        ("/run/s", "unix:/run/s"),
        ("--proxy-protocol /run/s", "unix:/run/s"),
        ("--proxy-protocol --tls example.test 443", "example.test:443"),
    ],
)
def test_places(words: str, shown: str) -> None:
    """
    A place can be written in several ways; TLS after a PROXY header comes later.
    """
    from twisted.internet import reactor

    options = parser().parse_args(["connect", *words.split()])
    place = placeFor(reactor, options)
    assert repr(place.endpoint) == f"<ClientEndpoint {shown}>"
    assert (place.preface is not None) is ("proxy" in words)


@pytest.mark.parametrize(
    ("words", "verified"),
    [
        ("ssl:localhost:443", False),
        ("SSL:localhost:443", False),
        ("ssl:localhost:443:caCertsDir=/etc/ssl/certs", True),
        ("--insecure ssl:localhost:443", True),
        ("tls:localhost:443", True),
        ("localhost 80", True),
    ],
)
def test_verifies(words: str, verified: bool) -> None:
    """
    Only of a string that checks no certificate is the user warned.
    """
    assert verifies(parser().parse_args(["connect", *words.split()])) is verified


def test_noEngine() -> None:
    """
    Where the standard library's TLS cannot run, the user is told so, with a PROXY header too.
    """
    for before in ("", "--proxy-protocol "):
        words = f"connect {before}--tls example.test 443"
        with pytest.raises(CommandError) as refused:
            placeFor(MemoryReactorClock(), parser().parse_args(words.split()))
        assert refused.value.outcome is Outcome.FAILED


def test_named() -> None:
    """
    A message names the place as the user has written it, and is safe to print.
    """
    options = parser().parse_args(["connect", "\x1b[2J", "80"])
    assert named(options) == r"\x1b[2J:80"
