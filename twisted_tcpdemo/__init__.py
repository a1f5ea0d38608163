"""
The TCP connection layer for Twisted.

Every package of it is one idea, and imports only from those above it here:

  - L{values<twisted_tcpdemo.values>}: plain values.
  - L{interfaces<twisted_tcpdemo.interfaces>}, L{errors<twisted_tcpdemo.errors>}:
    the contracts, and the named conditions.
    L{shapes<twisted_tcpdemo.shapes>}: the contracts, for type checkers.
  - L{tls<twisted_tcpdemo.tls>}: TLS inside a transport.
    L{clock<twisted_tcpdemo.clock>}: the steady clock of a reactor.
    L{nextturn<twisted_tcpdemo.nextturn>}: what waits for its next turn.
  - L{transports<twisted_tcpdemo.transports>}: what lies under a connection.
    L{fast<twisted_tcpdemo.fast>}: our own sockets.
    L{admission<twisted_tcpdemo.admission>}: who may come in.
  - L{connection<twisted_tcpdemo.connection>}: one connection.
  - L{server<twisted_tcpdemo.server>}, L{client<twisted_tcpdemo.client>}: many
    connections, and how they are made.
  - L{workers<twisted_tcpdemo.workers>}: several processes behind one door.
  - L{monitoring<twisted_tcpdemo.monitoring>}: what is told of them.
    L{service<twisted_tcpdemo.service>}: what a process runs.
    C{twisted_tcpdemo.cli}: the command line client.
  - C{twisted_tcpdemo.web}: the HTTP of the next two.
  - C{twisted_tcpdemo.status}, C{twisted_tcpdemo.control}: a server's page, and
    its control.
  - C{twisted_tcpdemo.twistd}: what C{twistd tcpdemo} runs.

C{docs/architecture.md} follows a connection and its bytes through them.
"""

from twisted_tcpdemo.admission import (
    Admission,
    AllowedNetworks,
    DeniedNetworks,
    Networks,
    PeerRate,
    PerPeerLimit,
    Rule,
)
from twisted_tcpdemo.client import ClientEndpoint, Retry
from twisted_tcpdemo.connection import Stream, TCPDemoProtocol, hosted
from twisted_tcpdemo.fast import Proxy, ServerEndpoint, fastReactor
from twisted_tcpdemo.server import ConnectionObserver, TCPDemoFactory, Watermarks
from twisted_tcpdemo.values import Budgets, CloseReason, ConnectionReport

__version__ = "0.1.0"

__all__ = [
    "Admission",
    "AllowedNetworks",
    "Budgets",
    "ClientEndpoint",
    "CloseReason",
    "ConnectionObserver",
    "ConnectionReport",
    "DeniedNetworks",
    "Networks",
    "PeerRate",
    "PerPeerLimit",
    "Proxy",
    "Retry",
    "Rule",
    "ServerEndpoint",
    "Stream",
    "TCPDemoFactory",
    "TCPDemoProtocol",
    "Watermarks",
    "fastReactor",
    "hosted",
]
