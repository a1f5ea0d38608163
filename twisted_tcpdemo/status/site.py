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

import json
from importlib.resources import files
from io import BytesIO
from ipaddress import ip_address
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from twisted_tcpdemo.monitoring.snapshot import stateOf
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.status.query import Query, QueryError
from twisted_tcpdemo.status.snapshot import Snapshots
from twisted_tcpdemo.values.addresses import endpointOf

TIMEOUT: Final = 30.0
"""Seconds without a request, after which a connection to the page is closed."""

_TEXT: Final = b"text/plain; charset=utf-8"

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


class Fixed(Resource):
    """
    A constant answer.
    """

    isLeaf = True

    def __init__(self, body: bytes, contentType: bytes = _TEXT, code: int = 200) -> None:
        super().__init__()
        self._body = body
        self._contentType = contentType
        self._code = code

    def render(self, request: Request) -> bytes:
        """
        Answer any method.
        """
        request.setResponseCode(self._code, _REASONS.get(self._code))
        request.setHeader(b"Content-Type", self._contentType)
        return self._body


_REASONS: Final = {421: b"Misdirected Request"}
"""Reason phrases that Twisted lacks."""

_WRONG_METHOD = Fixed(b"The status page is read-only: GET and HEAD.\n", code=405)
_NOT_FOUND = Fixed(b"There are /, /status.json, /metrics and /healthz.\n", code=404)
_MISDIRECTED = Fixed(
    b"On a loopback address the status page answers only to localhost, 127.0.0.1 and [::1], so "
    b"that no web site reaches it by a name of its own. A proxy in front must set Host.\n",
    code=421,
)


class StatusData(Resource):
    """
    C{/status.json}.
    """

    isLeaf = True

    def __init__(self, snapshots: Snapshots) -> None:
        super().__init__()
        self._snapshots = snapshots

    def render_GET(self, request: Request) -> bytes:
        """
        Answer with a snapshot, or with 400 for a wrong query.
        """
        try:
            query = Query.fromArguments(request.args or {})
        except QueryError as error:
            return Fixed(f"{error}\n".encode(), code=400).render(request)
        request.setHeader(b"Content-Type", b"application/json")
        snapshot = self._snapshots.take(query)
        return json.dumps(snapshot, separators=(",", ":")).encode() + b"\n"


class Health(Resource):
    """
    C{/healthz}: whether a load balancer may send clients here.
    """

    isLeaf = True

    def __init__(self, factory: TCPDemoFactory) -> None:
        super().__init__()
        self._factory = factory

    def render_GET(self, request: Request) -> bytes:
        """
        Answer with the state; the HTTP status is 503 unless the server accepts.
        """
        state = stateOf(self._factory)
        code = 200 if state == "accepting" else 503
        return Fixed(f"{state}\n".encode(), code=code).render(request)


class Metrics(Resource):
    """
    C{/metrics}, if prometheus_client is installed.
    """

    isLeaf = True

    def __init__(self, factory: TCPDemoFactory) -> None:
        super().__init__()
        self._registry: CollectorRegistry | None = None
        try:
            from prometheus_client import CollectorRegistry

            from twisted_tcpdemo.monitoring.metrics import collectorFor
        except ImportError:
            return
        # Now and not at the first request: the collector measures from here on.
        self._registry = CollectorRegistry()
        self._registry.register(collectorFor(factory))

    def render_GET(self, request: Request) -> bytes:
        """
        Answer in the format that the client prefers.
        """
        if self._registry is None:
            text = b"Metrics need prometheus_client: pip install 'twisted-tcpdemo[metrics]'.\n"
            return Fixed(text, code=404).render(request)
        from prometheus_client.exposition import choose_encoder

        accept = request.getHeader("Accept") or ""
        encode, contentType = choose_encoder(accept)
        request.setHeader(b"Content-Type", contentType.encode())
        body: bytes = encode(self._registry)
        return body


class StatusRequest(Request):
    """
    A request that drops its body; Twisted would spool it to a file.
    """

    def gotLength(self, length: int | None) -> None:
        """
        Prepare no file for the body.
        """
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Drop the data.
        """


class StatusSite(Site):
    """
    The status page of a server, as a factory for any endpoint.
    """

    def __init__(self, factory: TCPDemoFactory, reactor: IReactorTime) -> None:
        """
        @param factory: the server to show.
        @param reactor: the source of time.
        """
        self.snapshots = Snapshots(factory, reactor)
        root = Resource()
        folder = files(__package__)
        for path, (name, contentType) in _FILES.items():
            root.putChild(path, Fixed((folder / name).read_bytes(), contentType))
        root.putChild(b"status.json", StatusData(self.snapshots))
        root.putChild(b"healthz", Health(factory))
        root.putChild(b"metrics", Metrics(factory))
        super().__init__(root, requestFactory=StatusRequest, timeout=TIMEOUT, reactor=reactor)
        self.noisy = False

    # Twisted's own methods run a timer that wakes every second, for the time stamps
    # of an access log.  This site has no such log.

    def startFactory(self) -> None:
        """
        Start nothing.
        """

    def stopFactory(self) -> None:
        """
        Stop sampling for the history.
        """
        self.snapshots.history.stop()

    def log(self, request: object) -> None:
        """
        Write nothing: there is no access log.
        """

    def getResourceFor(self, request: Request) -> Resource:
        """
        Find the resource that answers a request, or that rejects it, and set the
        headers of every answer.
        """
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        if not _meantForUs(request):
            return _MISDIRECTED
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return _WRONG_METHOD
        path = request.postpath or []
        found = self.resource.getStaticEntity(path[0]) if len(path) == 1 else None
        return found or _NOT_FOUND


def _meantForUs(request: Request) -> bool:
    """
    Whether a request is meant for this server: on a loopback address, its C{Host}
    must mean this machine.
    """
    here = endpointOf(request.getHost())
    if here.family not in ("IPv4", "IPv6") or not _isLoopback(here.address or ""):
        return True  # no browser but its users' is on this side of such an address
    names = request.requestHeaders.getRawHeaders("host", [])
    # Every browser names the host; health checks in HTTP/1.0 need not.
    return len(names) < 2 and all(map(_isOurName, names))


def _isOurName(name: str) -> bool:
    """
    Whether a C{Host} means this machine.  Its port may be any: an SSH tunnel has a
    port of its own.
    """
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return name.lower() == "localhost" or _isLoopback(name)


def _isLoopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
