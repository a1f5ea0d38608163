"""
The TCP connection layer for Twisted.

Where to look:

  - L{protocol<twisted_tcpdemo.protocol>} and
    L{factory<twisted_tcpdemo.factory>}: what an application subclasses.
  - L{connection<twisted_tcpdemo.connection>}: the record of one connection,
    which stays right whatever the subclass does.  It gets its counts from the
    transport, or from a L{meter<twisted_tcpdemo.meter>} in front of one that
    does not count; L{stack<twisted_tcpdemo.stack>} knows what lies under it,
    and L{halfclose<twisted_tcpdemo.halfclose>} lets it hear of a FIN there.
  - L{ledger<twisted_tcpdemo.ledger>}: who is connected, who was, and how many
    were sent away.
  - L{listeners<twisted_tcpdemo.listeners>}: the ports, and whether they accept.
  - L{admission<twisted_tcpdemo.admission>}: rules that decide who may come in;
    L{gate<twisted_tcpdemo.gate>} asks them for the factory,
    L{networks<twisted_tcpdemo.networks>} tells peers apart, and
    L{limits<twisted_tcpdemo.limits>} knows of descriptors and watermarks.
  - L{refusal<twisted_tcpdemo.refusal>}, L{budgets<twisted_tcpdemo.budgets>},
    L{drain<twisted_tcpdemo.drain>}: how connections are sent away, how long
    they may take, and how a server comes to rest.
  - L{server<twisted_tcpdemo.server>}: listening on the fast lane, which is a
    L{port<twisted_tcpdemo.port>} whose connections use our own
    L{transport<twisted_tcpdemo.transport>}, served by a
    L{poller<twisted_tcpdemo.poller>}; what the kernel does not take waits in a
    L{writebuffer<twisted_tcpdemo.writebuffer>}.
  - L{client<twisted_tcpdemo.client>}: connecting, to one of the
    L{targets<twisted_tcpdemo.targets>} or by one of Twisted's
    L{descriptions<twisted_tcpdemo.descriptions>}, by way of
    L{connecting<twisted_tcpdemo.connecting>}.
  - L{observers<twisted_tcpdemo.observers>},
    L{logbudget<twisted_tcpdemo.logbudget>}, L{tcpinfo<twisted_tcpdemo.tcpinfo>}
    and C{twisted_tcpdemo.metrics}: what is told of all that, to logs and
    monitoring; the last needs prometheus_client.
  - L{tap<twisted_tcpdemo.tap>}: what C{twistd tcpdemo} runs: its
    L{options<twisted_tcpdemo.options>} made into a
    L{service<twisted_tcpdemo.service>} with one of the
    L{programs<twisted_tcpdemo.programs>}, and the
    L{companions<twisted_tcpdemo.companions>} that were asked for,
    C{twisted_tcpdemo.status} and C{twisted_tcpdemo.control}.  Their command
    line client is C{twisted_tcpdemo.cli}.  UNIX sockets that were left behind
    are taken over by L{reclaim<twisted_tcpdemo.reclaim>}.
  - L{report<twisted_tcpdemo.report>}, L{errors<twisted_tcpdemo.errors>},
    L{interfaces<twisted_tcpdemo.interfaces>}, L{checks<twisted_tcpdemo.checks>}:
    values, errors, contracts, and what is asked of arguments.
"""

from twisted_tcpdemo.client import ClientEndpoint
from twisted_tcpdemo.factory import TCPDemoFactory
from twisted_tcpdemo.protocol import TCPDemoProtocol
from twisted_tcpdemo.report import CloseReason, ConnectionReport
from twisted_tcpdemo.server import ServerEndpoint

__all__ = [
    "ClientEndpoint",
    "CloseReason",
    "ConnectionReport",
    "ServerEndpoint",
    "TCPDemoFactory",
    "TCPDemoProtocol",
]
