"""
The status page as a service.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IAddress, IStreamServerEndpoint

from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.companion import Companion
from twisted_tcpdemo.service.startup import dashed
from twisted_tcpdemo.shapes import AnyReactor, StreamServer
from twisted_tcpdemo.status.actions import Control
from twisted_tcpdemo.status.site import StatusSite
from twisted_tcpdemo.web.access import accessFor


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
        *,
        token: bytes | None = None,
        control: Control | None = None,
        privileged: bool | None = None,
    ) -> None:
        """
        @param factory: the server to show.
        @param where: the endpoint in its user's words, for messages.
        @param endpoint: the endpoint.
        @param token: the token that requests must bear, or L{None}.
        @param control: carries out the actions of the page; L{None} if it has none.
        @param privileged: see L{Companion}; L{None} for what the endpoint says.
        """
        site = StatusSite(factory, reactor, token, control)
        server = cast(IStreamServerEndpoint, endpoint)
        if privileged is None:
            privileged = not getattr(endpoint, "belongsToUser", False)
        super().__init__("the status page", where, server, site, reactor, privileged=privileged)

    @property
    def address(self) -> IAddress | None:
        """
        The address of the page, or L{None} while it does not listen.
        """
        return None if self.port is None else self.port.getHost()


def companionFor(
    reactor: AnyReactor,
    factory: TCPDemoFactory,
    where: str,
    tokenFile: str | None,
    control: Control | None = None,
    *,
    said: Callable[[str], str] = dashed,
) -> StatusService:
    """
    Build the companion that C{--status} asks for.  Without a token it does not start on
    an address that other machines can reach.

    @param factory: the server to show.
    @param where: see L{privateEndpoint<twisted_tcpdemo.web.access.privateEndpoint>}.
    @param tokenFile: the path of the file with the token, or L{None}.
    @param control: carries out the actions of the page; L{None} if it has none.
    @param said: see L{accessFor<twisted_tcpdemo.web.access.accessFor>}.
    @raise StartError: if the endpoint or the token is unusable.
    """
    access = accessFor("status", reactor, where, tokenFile, said)
    page = StatusService(
        factory,
        where,
        access.endpoint,
        reactor,
        token=access.token,
        control=control,
        privileged=not access.isPrivate,
    )
    if access.token is None:
        page.refuseStrangers(
            "other machines can reach it; name a loopback address (interface=127.0.0.1) or a "
            "UNIX socket, or give --status-token-file"
        )
    return page
