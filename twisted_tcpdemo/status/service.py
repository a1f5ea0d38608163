"""
The status page as a service.
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
    Serves the status page of a server on an endpoint, from start to stop.
    """

    def __init__(
        self,
        factory: TCPDemoFactory,
        where: str,
        endpoint: StreamServer | IStreamServerEndpoint,
        reactor: AnyReactor,
    ) -> None:
        """
        @param factory: the server to show.
        @param where: the endpoint in its user's words, for messages.
        @param endpoint: the endpoint.
        """
        site = StatusSite(factory, reactor)
        server = cast(IStreamServerEndpoint, endpoint)
        privileged = not getattr(endpoint, "belongsToUser", False)
        super().__init__("the status page", where, server, site, reactor, privileged=privileged)

    @property
    def address(self) -> IAddress | None:
        """
        The address of the page, or L{None} while it does not listen.
        """
        return None if self.port is None else self.port.getHost()
