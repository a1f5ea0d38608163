"""
The listener of control, from the words of the command line.
"""

from __future__ import annotations

from twisted_tcpdemo.control.access import AccessError, controlEndpoint, tokenFrom
from twisted_tcpdemo.control.routes import ControlSite
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.companion import Companion
from twisted_tcpdemo.service.startup import giveUp
from twisted_tcpdemo.shapes import AnyReactor


def companionFor(
    reactor: AnyReactor, factory: TCPDemoFactory, where: str, tokenFile: str | None
) -> Companion:
    """
    Build the companion that C{--control} asks for.

    @param factory: the server to control.
    @param where: see L{controlEndpoint}.
    @param tokenFile: the path of the file with the token, or L{None}.
    @raise StartError: if the endpoint or the token is unusable, or if the endpoint
        is no UNIX socket and there is no token.
    """
    try:
        endpoint, isPrivate = controlEndpoint(reactor, where)
    except AccessError as error:
        giveUp(f"--control {where!r}: {error}")
    if tokenFile is None and not isPrivate:
        giveUp(f"--control {where!r} is no UNIX socket, and so needs --control-token-file")
    try:
        token = None if tokenFile is None else tokenFrom(tokenFile)
    except AccessError as error:
        giveUp(f"--control-token-file {tokenFile!r}: {error}")
    return Companion("control", where, endpoint, ControlSite(factory, reactor, token), reactor)
