"""
Addresses in plain words.
"""

from __future__ import annotations

import ipaddress
from socket import AF_INET6, if_nametoindex, inet_ntop

import pytest
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress

from tests.support.links import LOOPBACK
from twisted_tcpdemo.values.addresses import Endpoint, canonical, canonicalAddress, endpointOf

ports = some.integers(0, 65535)


@given(some.ip_addresses(v=4), ports)
def test_ipv4(host: ipaddress.IPv4Address, port: int) -> None:
    """
    An IPv4 address is reported as its host, its port and IPv4.
    """
    found = endpointOf(IPv4Address("TCP", str(host), port))
    assert found == (str(host), port, "IPv4")
    assert str(found) == f"{host}:{port}"


@given(some.ip_addresses(v=6).filter(lambda host: host.ipv4_mapped is None), ports)
def test_ipv6(host: ipaddress.IPv6Address, port: int) -> None:
    """
    An IPv6 address is reported as its host, its port and IPv6, in the kernel's
    spelling, whatever its own; its text has brackets.
    """
    kernels = inet_ntop(AF_INET6, host.packed)
    for spelling in (str(host), host.exploded, host.exploded.upper(), kernels):
        found = endpointOf(IPv6Address("TCP", spelling, port))
        assert found == (kernels, port, "IPv6")
        assert str(found) == f"[{kernels}]:{port}"


@given(some.ip_addresses(v=4), ports, some.booleans())
def test_mapped(host: ipaddress.IPv4Address, port: int, upper: bool) -> None:
    """
    An IPv4 client of a dual-stack listener is IPv4, however its address is spelled.
    """
    number = int(host)
    spellings = [
        f"::ffff:{host}",
        f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}",
        f"0:0:0:0:0:ffff:{host}",
        f"0000:0:0::ffff:{number >> 16:x}:{number & 0xFFFF:x}",
    ]
    for spelling in spellings:
        spelled = spelling.upper() if upper else spelling
        assert endpointOf(IPv6Address("TCP", spelled, port)) == (str(host), port, "IPv4")


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("::1", "::1"),
        ("::", "::"),
        ("127.0.0.1", "127.0.0.1"),
        ("0:0:0:0:0:0:0:0", "::"),
        ("0:0:0:0:0:ffff:7f00:1", "127.0.0.1"),
        ("2001:db8:0:0:0:0:0:7", "2001:db8::7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("fe80:0::1%nope", "fe80::1%nope"),
        (f"fe80::1%{if_nametoindex(LOOPBACK)}", f"fe80::1%{LOOPBACK}"),
        ("fe80::1%99999", "fe80::1%99999"),
        (f"fe80::1%{'9' * 50}", f"fe80::1%{'9' * 50}"),
        ("::ffff:192.0.2.1%eth0", "192.0.2.1"),
        ("::ffff:0:1.2.3.4", "::ffff:0:102:304"),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
        ("::ffff:1:2:3", "::ffff:1:2:3"),
        ("::ffff:zzz", "::ffff:zzz"),
        ("::ffff:1.2.3.400", "::ffff:1.2.3.400"),
        ("::1\0", "::1\0"),
        ("::\udcff", "::\udcff"),
        ("localhost", "localhost"),
        ("", ""),
    ],
)
def test_canonical(host: str, plain: str) -> None:
    """
    An address has one spelling, with the interface's name for its zone; only an
    IPv4-mapped one has an IPv4 address in it, and any other text stays as it is.
    """
    assert canonical(host) == plain
    assert canonical(plain) == plain


def test_scopeID() -> None:
    """
    A scope that Twisted keeps beside an address, as it does for its clients, is the
    zone of the address.
    """
    number = if_nametoindex(LOOPBACK)
    beside = IPv6Address("TCP", "fe80::1", 1, 0, number)
    assert endpointOf(beside) == endpointOf(IPv6Address("TCP", f"fe80::1%{number}", 1))
    assert str(endpointOf(beside)) == f"[fe80::1%{LOOPBACK}]:1"
    assert canonicalAddress(beside) == IPv6Address("TCP", f"fe80::1%{LOOPBACK}", 1)


def test_canonicalAddress() -> None:
    """
    An IPv4-mapped address is one of IPv4.
    """
    mapped = IPv6Address("TCP", "::ffff:127.0.0.1", 1)
    assert canonicalAddress(mapped) == IPv4Address("TCP", "127.0.0.1", 1)
    plain = IPv4Address("TCP", "127.0.0.1", 1)
    assert canonicalAddress(plain) == plain


@pytest.mark.parametrize(
    ("kind", "host", "text"),
    [
        (IPv4Address, "\x1b[31m\n\u202e", r"\x1b[31m\n\u202e:1"),
        (IPv6Address, "::1\r\0", r"[::1\r\x00]:1"),
        (IPv4Address, "9" * 1000, "9" * 80 + "... (+922 more)"),
    ],
)
def test_noAddress(kind: type, host: str, text: str) -> None:
    """
    An address from a PROXY header may be any text; it is shown short and safe for a
    log.
    """
    assert str(endpointOf(kind("TCP", host, 1))) == text


@given(some.ip_addresses(v=6))
def test_longest(host: ipaddress.IPv6Address) -> None:
    """
    The longest address, with the longest name of an interface, is shown whole.
    """
    whole = f"{host.exploded.replace('0', '1')}%{'e' * 15}"
    assert str(endpointOf(IPv6Address("TCP", whole, 65535))) == f"[{whole}]:65535"


def test_scope() -> None:
    """
    The scope of a link-local address is kept.
    """
    assert str(endpointOf(IPv6Address("TCP", "fe80::1%eth0", 1))) == "[fe80::1%eth0]:1"


@pytest.mark.parametrize(
    ("name", "address", "text"),
    [
        (b"/run/x", "/run/x", "unix:/run/x"),
        (None, None, "unix:(unnamed)"),
        (b"", None, "unix:(unnamed)"),
        (b"/\xff", "/\\xff", "unix:/\\\\xff"),
        (b"/a\n\x1b", "/a\n\x1b", r"unix:/a\n\x1b"),
        (b"\0abstract", "\0abstract", r"unix:\x00abstract"),
    ],
)
def test_unix(name: bytes | None, address: str | None, text: str) -> None:
    """
    The address of a UNIX socket is its path; its text is safe in a log.
    """
    found = endpointOf(UNIXAddress(name))
    assert found == (address, None, "UNIX")
    assert str(found) == text


@pytest.mark.parametrize("address", [None, HostnameAddress(b"example.org", 80)])
def test_foreign(address: object) -> None:
    """
    An address of an unknown kind gives an empty endpoint.
    """
    found = endpointOf(address)  # type: ignore[arg-type]
    assert found == Endpoint(None, None, None)
    assert str(found) == "unknown"
