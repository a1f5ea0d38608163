"""
The factory of a side door's visitors.
"""

from __future__ import annotations

from base64 import b64decode
from hmac import compare_digest

from twisted.web.http import HTTPFactory

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.web.answer import Answer, Work, whole
from twisted_tcpdemo.web.turns import Turns
from twisted_tcpdemo.web.visit import TIMEOUT, Visit, Visitor


class SideDoor(HTTPFactory):
    """
    Answers HTTP, one request of a visitor at a time; see L{Visitor}.

    It speaks HTTP/1 only: a visitor of HTTP/2 may have a hundred requests under way.

    @cvar schemes: the schemes of C{Authorization} that may bear the token.
    @cvar maxBody: the most bytes of a body to keep.
    """

    noisy = False
    protocol = Visitor  # type: ignore[assignment]
    schemes: tuple[str, ...] = ("bearer",)
    maxBody = 0

    def __init__(self, clock: AnyReactor, token: bytes | None = None) -> None:
        """
        @param clock: the reactor.
        @param token: the token that requests must bear; L{None} where everybody who
            can connect may ask.
        """
        self.clock = steady(clock)
        super().__init__(timeout=TIMEOUT, reactor=self.clock)
        self.turns = Turns(self.clock)
        self.hasFailed = False
        self._token = token

    # Twisted's own methods run a timer that wakes every second, for the time stamps
    # of an access log.  There is no such log: a visitor that asks once a second must
    # not fill it.

    def startFactory(self) -> None:
        """
        Start nothing.
        """

    def stopFactory(self) -> None:
        """
        Stop nothing.
        """

    def log(self, request: object) -> None:
        """
        Write nothing.
        """

    # See L{Answering<twisted_tcpdemo.web.visit.Answering>}.

    def knows(self, visit: Visit) -> bool:
        """
        Whether a request bears the token.
        """
        if self._token is None:
            return False
        scheme, _, given = (visit.getHeader(b"authorization") or b"").partition(b" ")
        word = scheme.decode("latin-1").lower()
        if word not in self.schemes:
            return False
        if word == "basic":
            given = _password(given)
        # In constant time: a right byte must not show.
        return compare_digest(given.strip(), self._token)

    def admits(self, visit: Visit) -> bool:
        """
        Whether a request may be answered without a token.
        """
        return self._token is None

    def denial(self, visit: Visit) -> Answer:
        """
        The answer to a request without the token.
        """
        text = b"A token is needed.\n"
        return whole(401, [text], headers={b"WWW-Authenticate": b"Bearer"})

    def answer(self, visit: Visit) -> Work:
        """
        Make the answer to a request.
        """
        raise NotImplementedError


def _password(credentials: bytes) -> bytes:
    """
    The password of C{Basic} credentials (RFC 7617); empty if there is none.
    """
    try:
        return b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""
