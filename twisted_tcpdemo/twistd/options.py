"""
The options of the command line, each declared in one place.

A new option is one more entry.  If its target is the same as that of other options,
it stands among them, and L{makeService <twisted_tcpdemo.twistd.tap.makeService>}
passes its value on.  An option without a target is read by its name.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Final, NoReturn

from twisted.python.usage import UsageError

from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rate import PeerRate
from twisted_tcpdemo.admission.rules import PerPeerLimit
from twisted_tcpdemo.fast.endpoint import ServerEndpoint
from twisted_tcpdemo.fast.proxy import Proxy
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.server.factory import OVERFLOWS, TCPDemoFactory
from twisted_tcpdemo.service.endpoints import HAPROXY
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.transports.socketoptions import (
    LONGEST_KEEP_ALIVE_DELAY,
    LONGEST_KEEP_ALIVE_INTERVAL,
    MOST_KEEP_ALIVE_PROBES,
)
from twisted_tcpdemo.twistd.coercions import (
    network,
    number,
    oneOf,
    proxies,
    seconds,
    utf8,
    wholeNumber,
    workerCount,
)
from twisted_tcpdemo.twistd.configfile import fill, held
from twisted_tcpdemo.twistd.declarations import DeclaredOptions, Option, setting
from twisted_tcpdemo.twistd.logformat import logInJSON
from twisted_tcpdemo.twistd.programs import ReportProtocol, programNamed
from twisted_tcpdemo.values.addresses import canonical
from twisted_tcpdemo.values.budgets import Budgets

RULES: Final = ("allow", "deny", "max-per-peer", "peer-rate")
"""The options for rules about peers and networks."""

HARD_STOP_AFTER: Final = 5.0
"""Seconds from the deadline of the drain to the hard stop."""

# fmt: off
LISTENING: Final = (
    *setting(
        ServerEndpoint,
        Option("port", short="p", sets="port", takes=wholeNumber(0, 65535), default="18001",
               unless="listen", isOnAtZero=True,
               help="TCP port to listen on; 0 takes a free one."),
        Option("interface", sets="interface", takes=str, default="", shown="all, IPv6 and IPv4",
               needs=("port",), help="IP address to listen on."),
        Option("ipv6-only", sets="ipv6Only", needs=("port",),
               help="Take no IPv4 clients on all interfaces."),
        Option("backlog", sets="backlog", takes=wholeNumber(1, 2**31 - 1), default="511",
               needs=("port",), help="Length of the kernel's queue of connections to accept."),
    ),
    Option("transport", takes=oneOf("fast", "twisted"), default="fast",
           help="Transport of all sockets: fast (writes at once) or twisted (Twisted's own)."),
    Option("listen", takes=str, isRepeatable=True,
           help="Twisted server endpoint (tcp: ssl: tls: unix: systemd: haproxy:) to listen on; "
           "repeatable."),
    Option("proxy-protocol", needs=("proxy-from",),
           help="Expect a PROXY header, version 1 or 2, from each client of --port."),
    *setting(
        Proxy,
        Option("proxy-from", sets="trusted", takes=proxies, isRepeatable=True,
               needs=("proxy-protocol", "listen"),
               help="Network of the proxies that may send a PROXY header, or unix for UNIX "
               "sockets; repeatable."),
    ),
)
"""Options for the ports and endpoints of the server."""

SERVING: Final = (
    *setting(
        TCPDemoFactory,
        Option("max-connections", short="m", sets="maxConnections", takes=wholeNumber(),
               shown="as descriptors allow", isOnAtZero=True,
               help="Most connections at a time; 0 admits nobody."),
        Option("overflow", sets="overflow", takes=oneOf(*OVERFLOWS), default="refuse",
               help="Answer to a client over the limit: refuse (FIN), reset (RST) or wait (none "
               "until a slot is free)."),
        Option("refusal-message", sets="refusalMessage", takes=utf8, default="",
               help="Text for a refused client, sent before the FIN."),
        Option("allow-half-open", sets="allowHalfOpen",
               help="Keep a connection after its client's FIN."),
        Option("pause-on-connect", sets="resumeAfter", takes=seconds, default="0",
               help="Read nothing from a new connection for this time."),
        Option("nagle", sets="noDelay", isInverse=True,
               help="Leave Nagle's algorithm on; otherwise TCP_NODELAY is set."),
        Option("keep-alive", sets="keepAlive", help="Probe idle connections (SO_KEEPALIVE)."),
        Option("keep-alive-delay", sets="keepAliveInitialDelay",
               takes=wholeNumber(0, LONGEST_KEEP_ALIVE_DELAY), default="0", needs=("keep-alive",),
               help="Silence before the first keep-alive probe; 0: the system's own."),
        Option("keep-alive-interval", sets="keepAliveInterval",
               takes=wholeNumber(0, LONGEST_KEEP_ALIVE_INTERVAL), default="1",
               needs=("keep-alive",),
               help="Seconds between keep-alive probes without an answer; 0: the system's own."),
        Option("keep-alive-count", sets="keepAliveCount",
               takes=wholeNumber(0, MOST_KEEP_ALIVE_PROBES), default="10",
               needs=("keep-alive",),
               help="Keep-alive probes without an answer before the end; 0: the system's own."),
    ),
    Option("protocol", takes=programNamed, default="report",
           help="Protocol of each connection: report, echo, discard, or the dotted name of a "
           "class or a coroutine function."),
    *setting(
        ReportProtocol,
        Option("preview", sets="preview", takes=wholeNumber(), default="256", isOnAtZero=True,
               help="Received bytes to show in a log line of the protocol report."),
    ),
)
"""Options for the service to its clients."""

BUDGETS: Final = setting(
    Budgets,
    Option("first-byte-timeout", sets="firstByte", takes=seconds, default="120",
           help="Close a new connection if its client sends nothing for this time."),
    Option("idle-timeout", sets="idle", takes=seconds, default="300",
           help="Close a connection after this time without a byte in either direction."),
    Option("max-lifetime", sets="lifetime", takes=seconds, default="86400",
           help="Close a connection at this age, or up to a tenth earlier."),
    Option("write-timeout", sets="writeStall", takes=seconds, default="60",
           help="Reset a connection if its client takes no waiting bytes for this time."),
    Option("close-timeout", sets="closeFlush", takes=seconds, default="30",
           help="Reset a closing connection if its client stops reading for this time."),
    Option("handshake-timeout", sets="handshake", takes=seconds, default="10",
           help="Reset a connection if its TLS handshake takes longer than this."),
    Option("max-pending", sets="maxPending", takes=wholeNumber(), default=str(2**24),
           help="Reset a connection with more waiting bytes than this; 0: no limit."),
    Option("linger-timeout", sets="linger", takes=seconds, default="5",
           help="Wait for this time for the FIN of a client that goes on sending after ours; 0: "
           "close at once."),
    Option("linger-bytes", sets="lingerBytes", takes=wholeNumber(), default=str(2**25),
           help="Discard at most so many bytes that a client sends after our FIN; 0: no limit."),
)
"""Options for the time and the memory of a connection."""

ADMISSION: Final = (
    Option("allow", takes=network, isRepeatable=True, shown="all",
           help="Admit only the clients of this network, such as 192.0.2.0/24; repeatable."),
    Option("deny", takes=network, isRepeatable=True,
           help="Refuse the clients of this network; repeatable."),
    *setting(
        PerPeerLimit,
        Option("max-per-peer", sets="limit", takes=wholeNumber(), default="0",
               help="Most connections of one peer (IPv4 address, or IPv6 /64); 0: no limit."),
    ),
    *setting(
        PeerRate,
        Option("peer-rate", sets="rate", takes=number(0, 10**6), default="0",
               help="Connections a second of one peer, in the long run; 0: no limit."),
        Option("peer-burst", sets="burst", takes=wholeNumber(1), default="10",
               needs=("peer-rate",),
               help="Connections of one peer at once, before --peer-rate holds."),
    ),
    *setting(
        Admission,
        Option("exempt", sets="exempt", takes=network, isRepeatable=True, needs=RULES,
               help="Exempt the clients of this network from all peer and network rules; "
               "repeatable."),
        Option("dry-run", sets="dryRun", needs=RULES,
               help="Admit clients that a peer or network rule would refuse, and count them."),
    ),
)
"""Options for admission."""

OPERATING: Final = (
    *setting(
        TCPDemoService,
        Option("drain", sets="drain", takes=seconds, default="10", isOnAtZero=True,
               help="Time for connections to end when the server stops; 0 aborts them at once."),
        Option("drain-delay", sets="drainDelay", takes=seconds, default="0",
               help="Time before that in which health checks fail and clients are accepted."),
        Option("drain-spread", sets="spread", takes=seconds, default="0",
               help="Time over which idle connections are closed when the server stops."),
        Option("workers", sets="workers", takes=workerCount, default="0", shown="0: this one",
               help="Processes that serve the connections; auto: one for each processor."),
        Option("worker-timeout", sets="workerTimeout", takes=seconds, default="30",
               needs=("workers",),
               help="Kill and replace a worker that does not answer for this time."),
        Option("hard-stop", sets="hardStop", takes=seconds, shown="--drain and 5 s",
               help="Time for the drain, after which the process ends, whatever is in the way."),
    ),
    *setting(
        LogBudget,
        Option("log-rate", sets="rate", takes=wholeNumber(), default="100",
               help="Log lines a second about connections; 0: no limit."),
    ),
    Option("log-format", takes=oneOf("text", "json"), default="text",
           help="Lines of the log: text, or json: one plain object each."),
    Option("status", takes=str,
           help="UNIX socket or server endpoint of a status page."),
    Option("status-token-file", takes=str, needs=("status",),
           help="File with the token for --status; all but loopback and UNIX sockets needs one."),
    Option("agent", takes=str,
           help="UNIX socket or server endpoint that tells HAProxy's agent-check the state."),
    Option("control", takes=str, help="UNIX socket or server endpoint for control of the server."),
    Option("control-token-file", takes=str, needs=("control", "status"),
           help="File with the token for --control, which TCP needs, and for actions on the page."),
)
"""Options for the operator: draining, the log, the status page and control."""

CONFIGURING: Final = (
    Option("config", takes=str, isInFile=False,
           help="File with options (TOML); those of the command line win.  SIGHUP reads it "
           "again."),
    Option("show-config", isInFile=False,
           help="Show the options that hold, and where each is from, and exit."),
)
"""Options for the options."""
# fmt: on


class Options(DeclaredOptions):
    """
    The options of C{twistd tcpdemo}.
    """

    table = (*LISTENING, *SERVING, *BUDGETS, *ADMISSION, *OPERATING, *CONFIGURING)
    synopsis = "[options]"
    longdesc = (
        "A TCP server that reports who connects, from where, and how many bytes. "
        "Times are in seconds, and 0 switches one off. "
        "Example: twistd -n tcpdemo --port 18001 --max-connections 100 --idle-timeout 60"
    )

    def postOptions(self) -> None:
        """
        Add what a configuration file has, and check what the table cannot say, too.

        @raise UsageError: if an option would have no effect, or anybody's header would
            be believed.
        """
        if self["config"] is not None:
            self.folder = self.folder or os.getcwd()
            self["config"] = os.path.join(self.folder, self["config"])
            fill(self, self["config"])
        super().postOptions()
        if self["hard-stop"] is None:
            self["hard-stop"] = self["drain"] + HARD_STOP_AFTER
        self._checkListeners()
        if self["show-config"]:
            self._show()
        if self["log-format"] == "json":
            logInJSON(self.parent)

    def _checkListeners(self) -> None:
        isHAProxy = any(text.startswith(HAPROXY) for text in self["listen"])
        isProxied = isHAProxy or self["proxy-protocol"]
        isFast = self["transport"] == "fast"
        hasFour = self["interface"] and ":" not in canonical(self["interface"])
        wrong = (
            (self["proxy-protocol"] and self["port"] is None, "proxy-protocol", "--port"),
            (
                self["proxy-from"] and not isProxied,
                "proxy-from",
                "--proxy-protocol or --listen haproxy:",
            ),
            (
                self["ipv6-only"] and hasFour,
                "ipv6-only",
                "an IPv6 address in --interface, or none",
            ),
            (self["ipv6-only"] and not isFast, "ipv6-only", "--transport fast"),
            (self["workers"] and not isFast, "workers", "--transport fast"),
            (self["proxy-from"] and not isFast, "proxy-from", "--transport fast"),
        )
        for isWrong, name, needed in wrong:
            if isWrong:
                raise UsageError(f"{self.said(name)} goes with {needed}")
        if isHAProxy and isFast and not self["proxy-from"]:
            raise UsageError(f"{self.said('listen')} haproxy: goes with --proxy-from")

    def _show(self) -> NoReturn:
        try:
            print("\n".join(held(self)), flush=True)
        except BrokenPipeError:  # of somebody who has read enough, as head(1) does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0)

    def opt_version(self) -> NoReturn:
        """
        Show the version, and exit.
        """
        print(f"twisted-tcpdemo {version('twisted-tcpdemo')}")
        raise SystemExit(0)
