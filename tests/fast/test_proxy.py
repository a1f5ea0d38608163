"""
L{twisted_tcpdemo.fast.proxy}: who may send a PROXY header.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tests.support.links import LOOPBACK
from twisted_tcpdemo import (
    Proxy,
)


@pytest.mark.parametrize(
    ("wrong", "kind", "text"),
    [
        ({"trusted": []}, ValueError, "trusted must name the proxies; nobody could connect"),
        ({"trusted": None}, TypeError, "trusted must be a list of networks, not None"),
        ({"trusted": 5}, TypeError, "trusted must be a list of networks, not 5"),
        ({"trusted": [5]}, TypeError, "trusted must hold networks such as '10.0.0.0/8', not 5"),
        ({"trusted": ["proxy"]}, ValueError, "'proxy' does not appear to be an IPv4 or IPv6"),
        ({"trusted": ["10.0.0.1/8"]}, ValueError, "10.0.0.1/8 has host bits set"),
        ({"trusted": ["::1"], "timeout": 0}, ValueError, "timeout must be a finite number above 0"),
        ({"trusted": ["::1"], "timeout": None}, TypeError, "timeout must be a number, not None"),
    ],
    ids=str,
)
def test_wrongProxy(wrong: dict[str, Any], kind: type[Exception], text: str) -> None:
    """
    What makes no sense is an error when it is given.
    """
    with pytest.raises(kind, match=text.replace("(", r"\(")):
        Proxy(**wrong)


def test_trusts() -> None:
    """
    Only named peers are trusted; those on UNIX sockets by a word of their own.
    """
    proxy = Proxy(trusted=["127.0.0.0/8", "2001:db8::/32"])
    assert proxy.trusts(IPv4Address("TCP", "127.0.0.9", 1))
    assert proxy.trusts(IPv6Address("TCP", "::ffff:127.0.0.9", 1))
    assert proxy.trusts(IPv6Address("TCP", "2001:db8::5", 1))
    assert not proxy.trusts(IPv4Address("TCP", "192.0.2.7", 1))
    assert not proxy.trusts(UNIXAddress(None))
    assert Proxy(trusted="unix").trusts(UNIXAddress(b"/run/proxy"))
    assert repr(proxy) == "Proxy(trusted=('127.0.0.0/8', '2001:db8::/32'), timeout=5.0)"
    assert proxy == Proxy(trusted=iter(["127.0.0.0/8", "2001:db8::/32"]))


def test_zone() -> None:
    """
    A link-local proxy in a zone is trusted in that zone alone, and a zone that no proxy
    can have is refused.
    """
    proxy = Proxy(trusted=[f"fe80::1%{LOOPBACK}"])
    assert proxy.trusts(IPv6Address("TCP", f"fe80::1%{LOOPBACK}", 1))
    assert not proxy.trusts(IPv6Address("TCP", "fe80::1%another", 1))
    with pytest.raises(ValueError, match="no network interface 'nope'"):
        Proxy(trusted=["fe80::1%nope"])
