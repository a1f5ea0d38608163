"""
PROXY headers on their way to a worker.
"""

from __future__ import annotations

import marshal

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from twisted_tcpdemo.fast.proxyheader import ProxyHeader
from twisted_tcpdemo.workers.messages import headerFrom, headerTo


@pytest.mark.parametrize(
    "header",
    [
        None,
        ProxyHeader(1),
        ProxyHeader(1, IPv4Address("TCP", "192.0.2.1", 1), IPv4Address("TCP", "192.0.2.2", 2)),
        ProxyHeader(
            2,
            IPv6Address("TCP", "fe80::1%lo", 1, 3, 4),
            IPv6Address("TCP", "::1", 2),
            ((1, b"h2"), (0xE0, bytes(range(256)))),
        ),
        ProxyHeader(2, UNIXAddress(b"\0name"), UNIXAddress(None)),
    ],
)
def test_header(header: ProxyHeader | None) -> None:
    """
    A header arrives as it was.
    """
    assert headerFrom(marshal.loads(marshal.dumps(headerTo(header)))) == header
