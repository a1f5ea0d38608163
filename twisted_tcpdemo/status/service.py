"""
Listening for the status page.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.interfaces import IAddress, IStreamServerEndpoint

from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.companion import Companion
from twisted_tcpdemo.shapes import AnyReactor, StreamServer
from twisted_tcpdemo.status.site import StatusSite


class StatusService(Companion):
    """
    Shows the status of a factory on an endpoint, from start to stop.
    """

    def __init__(
        self,
        factory: TCPDemoFactory,
        where: str,
        endpoint: StreamServer | IStreamServerEndpoint,
        reactor: AnyReactor,
    ) -> None:
        """
        @param where: the endpoint as its user calls it.
        """
        site = StatusSite(factory, reactor)
        server = cast(IStreamServerEndpoint, endpoint)
        super().__init__("the status page", where, server, site, reactor, privileged=True)

    @property
    def address(self) -> IAddress | None:
        """
        Where it can be seen, or L{None} if it can not.
        """
        return None if self.port is None else self.port.getHost()
