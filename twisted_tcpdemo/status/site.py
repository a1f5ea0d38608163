"""
The resources of the status page, and their protection from other pages.

A browser on the same machine runs pages of strangers.  Such a page can send
requests here.  The browser lets it read an answer only from its own site, and the
page can make this server look like its own site: it points a name of its own at a
loopback address (DNS rebinding).  So on loopback only requests to a name of this
machine are answered.

Text that a peer has chosen leaves as JSON, is declared as JSON, and becomes text
nodes only.  If markup came through all the same, the Content-Security-Policy would
let it run nothing.

The methods are GET and HEAD; no request changes anything, but those for L{Actions}, which
need a token of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Final
from urllib.parse import unquote_to_bytes

from twisted_tcpdemo.monitoring.distributions import Distributions
from twisted_tcpdemo.monitoring.snapshot import stateOf
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.status.actions import Actions, Control
from twisted_tcpdemo.status.history import RANGES
from twisted_tcpdemo.status.metrics import metricsOf
from twisted_tcpdemo.status.peers import ORDERS
from twisted_tcpdemo.status.query import Query, QueryError, textOf
from twisted_tcpdemo.status.snapshot import Snapshots
from twisted_tcpdemo.status.tables import connectionsTable, historyTable
from twisted_tcpdemo.values.addresses import endpointOf, isLoopback
from twisted_tcpdemo.web.answer import JSON, Answer, Work, whole
from twisted_tcpdemo.web.door import SideDoor
from twisted_tcpdemo.web.visit import Visit

_HEADERS: Final = {
    b"Server": b"tcpdemo",
    b"Cache-Control": b"no-store",
    b"Content-Security-Policy": (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        b"require-trusted-types-for 'script'"
    ),
    b"Cross-Origin-Opener-Policy": b"same-origin",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    b"X-Content-Type-Options": b"nosniff",
    b"X-Frame-Options": b"DENY",
}

_FILES: Final = {
    b"": ("page.html", b"text/html; charset=utf-8"),
    b"page.css": ("page.css", b"text/css; charset=utf-8"),
    b"page.js": ("page.js", b"text/javascript; charset=utf-8"),
    b"format.js": ("format.js", b"text/javascript; charset=utf-8"),
    b"nodes.js": ("nodes.js", b"text/javascript; charset=utf-8"),
    b"plot.js": ("plot.js", b"text/javascript; charset=utf-8"),
    b"bars.js": ("bars.js", b"text/javascript; charset=utf-8"),
    b"panels.js": ("panels.js", b"text/javascript; charset=utf-8"),
    b"table.js": ("table.js", b"text/javascript; charset=utf-8"),
    b"actions.js": ("actions.js", b"text/javascript; charset=utf-8"),
    b"uplot/uPlot.iife.min.js": ("uplot/uPlot.iife.min.js", b"text/javascript; charset=utf-8"),
    b"uplot/uPlot.min.css": ("uplot/uPlot.min.css", b"text/css; charset=utf-8"),
    b"uplot/LICENSE": ("uplot/LICENSE", b"text/plain; charset=utf-8"),
    b"icon.svg": ("icon.svg", b"image/svg+xml"),
}


_WRONG_METHOD = b"The status page is read-only: GET and HEAD.\n"
_NOT_FOUND = b"There are /, /status.json, /connections.csv, /history.csv, /metrics and /healthz.\n"
_MISDIRECTED = (
    b"On a loopback address the status page answers only to localhost, 127.0.0.1 and [::1], so "
    b"that no web site reaches it by a name of its own. A proxy in front must set Host.\n"
)
_NO_METRICS = b"Metrics need prometheus_client: pip install 'twisted-tcpdemo[metrics]'.\n"


class StatusSite(SideDoor):
    """
    The status page of a server, as a factory for any endpoint.

    A browser can send the token too, as the password of C{Basic} authentication.
    """

    schemes = ("bearer", "basic")

    def __init__(
        self,
        factory: TCPDemoFactory,
        reactor: AnyReactor,
        token: bytes | None = None,
        control: Control | None = None,
    ) -> None:
        """
        @param factory: the server to show.
        @param reactor: the source of time.
        @param token: the token that requests must bear, or L{None}.
        @param control: carries out the actions of the page; L{None} if it has none.
        """
        super().__init__(reactor, token)
        self._factory = factory
        # Now and not at the first request: the figures are measured from here on.
        self._metrics = metricsOf(factory)
        distributions = self._metrics.distributions if self._metrics else Distributions(factory)
        self.snapshots = Snapshots(factory, reactor, self.turns.cooperate, distributions)
        self._actions = None if control is None else Actions(control)
        self.snapshots.hasActions = control is not None
        if self._actions is not None:
            self.maxBody = self._actions.maxBody
        folder = files(__package__)
        self._files = {
            path: ((folder / name).read_bytes(), contentType)
            for path, (name, contentType) in _FILES.items()
        }
        self._routes: dict[bytes, Callable[[Visit], Work]] = {
            b"status.json": self._status,
            b"connections.csv": self._connectionsTable,
            b"history.csv": self._historyTable,
            b"metrics": self._showMetrics,
            b"healthz": self._health,
        }

    def startFactory(self) -> None:
        """
        Begin the history.
        """
        self.snapshots.history.start()

    def stopFactory(self) -> None:
        """
        End the history.
        """
        self.snapshots.history.stop()

    def knows(self, visit: Visit) -> bool:
        """
        Whether a request bears the token, of the page or of control.
        """
        isKnown = super().knows(visit)
        return isKnown or (self._actions is not None and self._actions.knows(visit))

    def denial(self, visit: Visit) -> Answer:
        """
        See L{SideDoor}.  The state alone is no secret: a health check bears no token.
        """
        isRead = visit.method in (b"GET", b"HEAD")
        if isRead and visit.path == b"/healthz" and _meantForUs(visit):
            return _healthOf(self._factory)
        headers = {**_HEADERS, b"WWW-Authenticate": b'Bearer, Basic realm="tcpdemo"'}
        return whole(401, [b"A token is needed; in a browser, as the password.\n"], headers=headers)

    def answer(self, visit: Visit) -> Work:
        """
        Find what answers a request, or rejects it.  A wrong query is answered with 400.
        """
        for name, value in _HEADERS.items():
            visit.setHeader(name, value)
        if not _meantForUs(visit):
            return whole(421, [_MISDIRECTED])
        if self._actions is not None and self._actions.isMeantBy(visit):
            answer = yield from self._actions.answer(visit)
            return answer
        if visit.method not in (b"GET", b"HEAD"):
            return whole(405, [_WRONG_METHOD], headers={b"Allow": b"GET, HEAD"})
        path = unquote_to_bytes(visit.path.removeprefix(b"/"))
        if path in self._files:
            content, contentType = self._files[path]
            return whole(200, [content], contentType)
        if path in self._routes:
            try:
                answer = yield from self._routes[path](visit)
            except QueryError as error:
                answer = whole(400, [f"{error}\n".encode()])
            return answer
        return whole(404, [_NOT_FOUND])

    def _status(self, visit: Visit) -> Work:
        """
        C{/status.json}: a snapshot.
        """
        arguments = visit.args or {}
        query = Query.fromArguments(arguments)
        seconds = int(_oneOf(arguments, b"range", [str(known) for known in RANGES]))
        peers = _oneOf(arguments, b"peers", ["", *ORDERS]) or None
        pieces = yield from self.snapshots.take(query, seconds, peers)
        return whole(200, pieces, JSON)

    def _connectionsTable(self, visit: Visit) -> Work:
        """
        C{/connections.csv}: the chosen connections.
        """
        query = Query.fromArguments(visit.args or {})
        chosen, _ = yield from query.choosing(self._factory.records)
        return connectionsTable(chosen)

    def _historyTable(self, visit: Visit) -> Work:
        """
        C{/history.csv}: the marks of a day, or those of a shorter range.
        """
        yield from ()
        ranges = [str(known) for known in sorted(RANGES, reverse=True)]
        seconds = int(_oneOf(visit.args or {}, b"range", ranges))
        return historyTable(self.snapshots.history.points(seconds, finest=True))

    def _health(self, visit: Visit) -> Work:
        """
        C{/healthz}: whether a load balancer may send clients here.  The status is 503
        unless the server accepts.
        """
        yield from ()
        return _healthOf(self._factory)

    def _showMetrics(self, visit: Visit) -> Work:
        """
        C{/metrics}, if prometheus_client is installed, in the format that the client
        prefers.
        """
        if self._metrics is None:
            return whole(404, [_NO_METRICS])
        text, contentType = yield from self._metrics.exposed(visit.header(b"accept"))
        return whole(200, [text], contentType)


def _oneOf(arguments: Mapping[bytes, Sequence[bytes]], name: bytes, known: list[str]) -> str:
    """
    An argument of a request that is one of a few words; the first unless it is there.

    @raise QueryError: if it is another.
    """
    text = textOf(arguments, name, known[0])
    if text not in known:
        words = ", ".join(word for word in known if word)
        raise QueryError(f"{name.decode()} must be one of {words}")
    return text


def _meantForUs(request: Visit) -> bool:
    """
    Whether a request is meant for this server: on a loopback address, its C{Host}
    must mean this machine.
    """
    here = endpointOf(request.getHost())
    if here.family not in ("IPv4", "IPv6") or not isLoopback(here.address or ""):
        return True  # no browser but its users' is on this side of such an address
    values = request.requestHeaders.getRawHeaders(b"host", [])
    names = [value.decode("latin-1") for value in values]
    # Every browser names the host; health checks in HTTP/1.0 need not.
    return len(names) < 2 and all(map(_isOurName, names))


def _isOurName(name: str) -> bool:
    """
    Whether a C{Host} means this machine.  Its port may be any: an SSH tunnel has a
    port of its own.
    """
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return name.lower() == "localhost" or isLoopback(name)


def _healthOf(factory: TCPDemoFactory) -> Answer:
    state = stateOf(factory)
    return whole(200 if state == "accepting" else 503, [f"{state}\n".encode()], headers=_HEADERS)
