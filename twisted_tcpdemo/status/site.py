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

The methods are GET and HEAD; no request changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Final
from urllib.parse import unquote_to_bytes

from twisted_tcpdemo.monitoring.snapshot import stateOf
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.status.metrics import metricsOf
from twisted_tcpdemo.status.query import Query, QueryError
from twisted_tcpdemo.status.snapshot import Snapshots
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
    b"plot.js": ("plot.js", b"text/javascript; charset=utf-8"),
    b"table.js": ("table.js", b"text/javascript; charset=utf-8"),
    b"icon.svg": ("icon.svg", b"image/svg+xml"),
}


_WRONG_METHOD = b"The status page is read-only: GET and HEAD.\n"
_NOT_FOUND = b"There are /, /status.json, /metrics and /healthz.\n"
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
        self, factory: TCPDemoFactory, reactor: AnyReactor, token: bytes | None = None
    ) -> None:
        """
        @param factory: the server to show.
        @param reactor: the source of time.
        @param token: the token that requests must bear, or L{None}.
        """
        super().__init__(reactor, token)
        self.snapshots = Snapshots(factory, reactor)
        self._factory = factory
        # Now and not at the first request: the figures are measured from here on.
        self._metrics = metricsOf(factory)
        folder = files(__package__)
        self._files = {
            path: ((folder / name).read_bytes(), contentType)
            for path, (name, contentType) in _FILES.items()
        }
        self._routes: dict[bytes, Callable[[Visit], Work]] = {
            b"status.json": self._status,
            b"metrics": self._showMetrics,
            b"healthz": self._health,
        }

    def stopFactory(self) -> None:
        """
        Stop sampling for the history.
        """
        self.snapshots.history.stop()

    def denial(self) -> Answer:
        """
        See L{SideDoor}.
        """
        headers = {**_HEADERS, b"WWW-Authenticate": b'Bearer, Basic realm="tcpdemo"'}
        return whole(401, [b"A token is needed; in a browser, as the password.\n"], headers=headers)

    def answer(self, visit: Visit) -> Work:
        """
        Find what answers a request, or rejects it.
        """
        for name, value in _HEADERS.items():
            visit.setHeader(name, value)
        if not _meantForUs(visit):
            return whole(421, [_MISDIRECTED])
        if visit.method not in (b"GET", b"HEAD"):
            return whole(405, [_WRONG_METHOD], headers={b"Allow": b"GET, HEAD"})
        path = unquote_to_bytes(visit.path.removeprefix(b"/"))
        if path in self._files:
            content, contentType = self._files[path]
            return whole(200, [content], contentType)
        if path in self._routes:
            answer = yield from self._routes[path](visit)
            return answer
        return whole(404, [_NOT_FOUND])

    def _status(self, visit: Visit) -> Work:
        """
        C{/status.json}: a snapshot, or 400 for a wrong query.
        """
        try:
            query = Query.fromArguments(visit.args or {})
        except QueryError as error:
            return whole(400, [f"{error}\n".encode()])
        pieces = yield from self.snapshots.take(query)
        return whole(200, pieces, JSON)

    def _health(self, visit: Visit) -> Work:
        """
        C{/healthz}: whether a load balancer may send clients here.  The status is 503
        unless the server accepts.
        """
        yield from ()
        state = stateOf(self._factory)
        return whole(200 if state == "accepting" else 503, [f"{state}\n".encode()])

    def _showMetrics(self, visit: Visit) -> Work:
        """
        C{/metrics}, if prometheus_client is installed, in the format that the client
        prefers.
        """
        if self._metrics is None:
            return whole(404, [_NO_METRICS])
        text, contentType = yield from self._metrics.exposed(visit.header(b"accept"))
        return whole(200, [text], contentType)


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
