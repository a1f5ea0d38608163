"""
What C{twistd tcpdemo} runs: its options, made into a service.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import IService
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint

from twisted_tcpdemo.admission.policy import Admission
from twisted_tcpdemo.admission.rate import PeerRate
from twisted_tcpdemo.admission.rules import AllowedNetworks, DeniedNetworks, PerPeerLimit, Rule
from twisted_tcpdemo.fast.endpoint import ServerEndpoint, hasIPv6
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.companion import Accompanied
from twisted_tcpdemo.service.endpoints import Reclaiming, serverEndpoint
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.service.startup import giveUp
from twisted_tcpdemo.twistd.options import Options
from twisted_tcpdemo.values.budgets import Budgets

LIFETIME_JITTER = 0.1
"""So that connections made together do not all return together."""


def makeService(options: Options) -> IService:
    """
    Build the service that the options describe.

    @raise StartError: if an endpoint's string is wrong.
    """
    from twisted.internet import reactor

    pause = options["pause-on-connect"]
    factory = TCPDemoFactory(
        options["protocol"],
        maxConnections=options["max-connections"],
        allowHalfOpen=bool(options["allow-half-open"]),
        pauseOnConnect=bool(pause),
        resumeAfter=pause,
        noDelay=not options["nagle"],
        keepAlive=bool(options["keep-alive"]),
        keepAliveInitialDelay=options["keep-alive-delay"],
        overflow=options["overflow"],
        refusalMessage=options["refusal-message"] or b"",
        admission=_admission(options),
        budgets=_budgets(options),
    )
    factory.addObserver(LoggingObserver(factory, options.logBudget))
    endpoints = [_endpoint(reactor, "listen", text) for text in options["listen"]]
    if options["port"] is not None:
        endpoints.insert(0, _portEndpoint(reactor, options))
    service = TCPDemoService(
        factory,
        endpoints,
        reactor=reactor,
        drain=options["drain"],
        spread=options["drain-spread"],
    )
    companions: list[Any] = []
    if options["status"] is not None:
        from twisted_tcpdemo.status.service import StatusService

        endpoint = _endpoint(reactor, "status", options["status"])
        companions.append(StatusService(factory, *endpoint, reactor))
    if options["control"] is not None:
        from twisted_tcpdemo.control.start import companionFor

        where, tokenFile = options["control"], options["control-token-file"]
        companions.append(companionFor(reactor, factory, where, tokenFile))
    return Accompanied(service, *companions) if companions else service


def _admission(options: Options) -> Admission | None:
    rules: list[Rule] = []
    if options["allow"]:
        rules.append(AllowedNetworks(*options["allow"]))
    if options["deny"]:
        rules.append(DeniedNetworks(*options["deny"]))
    if options["max-per-peer"]:
        rules.append(PerPeerLimit(options["max-per-peer"]))
    if options["peer-rate"]:
        rules.append(PeerRate(options["peer-rate"], burst=options["peer-burst"]))
    if not rules:
        return None
    return Admission(*rules, exempt=options["exempt"], dryRun=bool(options["dry-run"]))


def _budgets(options: Options) -> Budgets:
    return Budgets(
        firstByte=options["first-byte-timeout"],
        idle=options["idle-timeout"],
        lifetime=options["max-lifetime"],
        lifetimeJitter=LIFETIME_JITTER,
        writeStall=options["write-timeout"],
        closeFlush=options["close-timeout"],
        handshake=options["handshake-timeout"],
        maxPending=options["max-pending"],
    )


def _endpoint(reactor: Any, option: str, text: str) -> tuple[str, IStreamServerEndpoint]:
    try:
        return text, Reclaiming(serverEndpoint(reactor, text))
    except Exception as error:
        giveUp(f"--{option} {text!r} is no endpoint: {error}")


def _portEndpoint(reactor: Any, options: Options) -> tuple[str, IStreamServerEndpoint]:
    port, backlog = options["port"], options["backlog"]
    interface = options["interface"] or ("::" if hasIPv6() else "0.0.0.0")
    isIPv6 = ":" in interface
    name = f"[{interface}]:{port}" if isIPv6 else f"{interface}:{port}"
    if options["transport"] == "fast":
        noDelay = not options["nagle"]
        return name, ServerEndpoint(reactor, port, interface, backlog, noDelay=noDelay)
    endpoint = TCP6ServerEndpoint if isIPv6 else TCP4ServerEndpoint
    return name, endpoint(reactor, port, backlog, interface)
