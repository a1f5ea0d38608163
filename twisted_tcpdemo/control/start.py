"""
The listener of control, from the words of the command line.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted_tcpdemo.control.routes import ControlSite
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.companion import Companion
from twisted_tcpdemo.service.startup import dashed, giveUp
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.web.access import accessFor, tokenFor


def companionFor(
    reactor: AnyReactor,
    factory: TCPDemoFactory,
    where: str,
    tokenFile: str | None,
    said: Callable[[str], str] = dashed,
) -> Companion:
    """
    Build the companion that C{--control} asks for.

    @param factory: the server to control.
    @param where: see L{privateEndpoint<twisted_tcpdemo.web.access.privateEndpoint>}.
    @param tokenFile: the path of the file with the token, or L{None}.
    @param said: see L{accessFor<twisted_tcpdemo.web.access.accessFor>}.
    @raise StartError: if the endpoint or the token is unusable, or if the endpoint
        is no UNIX socket and there is no token.
    """
    access = accessFor("control", reactor, where, tokenFile, said)
    if access.token is None and not access.isPrivate:
        giveUp(f"{said('control')} {where!r} is no UNIX socket, and so needs --control-token-file")
    site = ControlSite(factory, reactor, access.token)
    return Companion("control", where, access.endpoint, site, reactor)


def steeringFor(
    reactor: AnyReactor,
    factory: TCPDemoFactory,
    tokenFile: str,
    said: Callable[[str], str] = dashed,
) -> ControlSite:
    """
    Build what carries out the actions of the status page, for who has the token of
    control.

    @param tokenFile: the path of the file with the token.
    @param said: see L{accessFor<twisted_tcpdemo.web.access.accessFor>}.
    @raise StartError: if the token is unusable.
    """
    return ControlSite(factory, reactor, tokenFor("control", tokenFile, said))
