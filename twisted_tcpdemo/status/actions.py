"""
The actions of the status page: control, for who has its token.

The page itself needs no token on loopback, so nothing that a browser adds by itself may
act.  A browser on the same machine runs pages of strangers, and these can send requests
here.  So an action needs three things, each of which is enough:

 - the token of control, which no browser keeps, in C{Authorization: Bearer};
 - the header L{HEADER}, which a page may send to its own site only;
 - no word of the browser's that the request comes from another site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from twisted_tcpdemo.web.answer import Answer, Work, asJSON
from twisted_tcpdemo.web.visit import Visit

PREFIX: Final = b"/control"
"""What comes before the routes of control."""

HEADER: Final = b"x-tcpdemo-control"
"""A header that makes a browser ask before it sends a request to another site."""


class Control(Protocol):
    """
    What carries actions out, for who has its token.

    @ivar maxBody: the most bytes of a body.
    """

    maxBody: int

    def knows(self, visit: Visit) -> bool:
        """
        Whether a request bears the token.
        """

    def answer(self, visit: Visit) -> Work:
        """
        Answer a request.
        """


class Actions:
    """
    Lets control answer, to those who may ask.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self.maxBody = control.maxBody

    def isMeantBy(self, visit: Visit) -> bool:
        """
        Whether a request is one for control.
        """
        return visit.path.startswith(PREFIX + b"/")

    def knows(self, visit: Visit) -> bool:
        """
        Whether a request bears the token.
        """
        return self._control.knows(visit)

    def answer(self, visit: Visit) -> Work:
        """
        Have a request answered.
        """
        if visit.getHeader(HEADER) is None:
            return _refusal(f"an action needs the header {HEADER.decode()}")
        if not isFromHere(visit):
            return _refusal("an action must come from this page")
        if not self.knows(visit):
            headers = {b"WWW-Authenticate": b"Bearer"}
            return _refusal("the token of control is needed", 401, headers)
        visit.path = visit.path.removeprefix(PREFIX)
        answer = yield from self._control.answer(visit)
        return answer


def isFromHere(visit: Visit) -> bool:
    """
    Whether nothing says that a request comes from another site.  A program says nothing.

    What a browser says of the site holds; the origin is compared only where it says nothing.
    It is that of the proxy, if one is in front.
    """
    site = visit.getHeader(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    origin = visit.getHeader(b"origin")
    return origin is None or origin.partition(b"://")[2] == visit.getHeader(b"host")


def _refusal(why: str, status: int = 403, headers: Mapping[bytes, bytes] | None = None) -> Answer:
    return asJSON(status, {"error": why}, headers)
