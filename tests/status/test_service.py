"""
The service that listens for the status page.
"""

from __future__ import annotations

from twisted.internet.endpoints import serverFromString

from tests.support.status import ask
from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.status import StatusService


async def test_address() -> None:
    """
    The page has an address from its start to its stop, with the real port.
    """
    from twisted.internet import reactor

    where = "tcp:0:interface=127.0.0.1"
    service = StatusService(TCPDemoFactory(), where, serverFromString(reactor, where), reactor)
    assert service.address is None
    service.startService()
    address = service.address
    assert address is not None and address.host == "127.0.0.1"  # type: ignore[attr-defined]
    assert (await ask(address.port)).code == 200  # type: ignore[attr-defined]
    await service.stopService()
    assert service.address is None
