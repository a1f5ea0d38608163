"""
The service of C{twistd tcpdemo}, built from its options.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

from twisted.application.service import IService
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint

from twisted_tcpdemo.fast.endpoint import ServerEndpoint, hasIPv6
from twisted_tcpdemo.fast.proxy import Proxy
from twisted_tcpdemo.fast.reactor import fastReactor
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.monitoring.processlog import BoundedProcessLog
from twisted_tcpdemo.monitoring.snapshot import stateOf
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.service.companion import Accompanied, Companion
from twisted_tcpdemo.service.endpoints import (
    HAPROXY,
    Reclaiming,
    belongsToUser,
    proxiedEndpoint,
)
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.service.startup import giveUp
from twisted_tcpdemo.service.systemd import Systemd
from twisted_tcpdemo.twistd.options import Options
from twisted_tcpdemo.twistd.reload import Reload
from twisted_tcpdemo.twistd.settings import admissionFor, budgetsFor, protocolFor
from twisted_tcpdemo.values.addresses import canonical
from twisted_tcpdemo.workers.program import ProgramError

_NamedEndpoint: TypeAlias = tuple[str, IStreamServerEndpoint]
"""An endpoint, after its name in errors."""


def makeService(options: Options) -> IService:
    """
    Build the service that the options describe.

    @raise StartError: if the string of an endpoint is wrong, or if control cannot
        be protected.
    """
    from twisted.internet import reactor

    # Strings of endpoints make their sockets on this one.
    lane = fastReactor(reactor) if options["transport"] == "fast" else reactor
    logBudget = LogBudget(**options.settings(LogBudget))
    factory = _factory(options, logBudget)
    factory.addObserver(LoggingObserver(factory, logBudget))
    endpoints = _endpoints(lane, options, factory.noDelay)
    try:
        service = TCPDemoService(
            factory,
            endpoints,
            reactor=reactor,
            log=BoundedProcessLog(logBudget),
            logBudget=logBudget,
            systemd=Systemd.fromEnvironment(partial(_summary, factory)),
            **options.settings(TCPDemoService),
        )
    except ProgramError as error:
        giveUp(f"{options.said('workers')}: {error}")
    if options["config"] is not None:
        service.reload = Reload(options, service, factory, logBudget)
    companions = _companions(lane, options, factory)
    return Accompanied(service, *companions) if companions else service


def _summary(factory: TCPDemoFactory) -> str:
    """
    A server in a line, for C{systemctl status}.
    """
    limit = factory.effectiveLimit
    upTo = "no limit" if limit is None else f"limit {limit}"
    return f"{stateOf(factory)}; {factory.connectionCount} connected, {upTo}"


def _factory(options: Options, logBudget: LogBudget) -> TCPDemoFactory:
    return TCPDemoFactory(
        protocolFor(options, options["protocol"], logBudget, bool(options["workers"])),
        pauseOnConnect=bool(options["pause-on-connect"]),
        admission=admissionFor(options),
        budgets=budgetsFor(options),
        **options.settings(TCPDemoFactory),
    )


def _endpoints(reactor: Any, options: Options, noDelay: bool) -> list[_NamedEndpoint]:
    proxy = _proxy(options)
    option = options.said("listen")
    endpoints = [_endpoint(reactor, option, text, proxy) for text in options["listen"]]
    if options["port"] is not None:
        endpoints.insert(0, _portEndpoint(reactor, options, noDelay))
    return endpoints


def _portEndpoint(reactor: Any, options: Options, noDelay: bool) -> _NamedEndpoint:
    settings = options.settings(ServerEndpoint)
    port, interface = settings["port"], canonical(settings["interface"])
    settings["interface"] = interface
    if not interface:
        isIPv6 = settings["ipv6Only"] or hasIPv6()
        interface = settings["interface"] = "::" if isIPv6 else "0.0.0.0"
    isIPv6 = ":" in interface
    name = f"[{interface}]:{port}" if isIPv6 else f"{interface}:{port}"
    if options["transport"] == "fast":
        proxy = _proxy(options) if options["proxy-protocol"] else None
        try:
            return name, ServerEndpoint(reactor, noDelay=noDelay, proxy=proxy, **settings)
        except ValueError as error:
            giveUp(f"{options.said('port')}: {error}")
    del settings["ipv6Only"]  # it needs our transport
    kind = TCP6ServerEndpoint if isIPv6 else TCP4ServerEndpoint
    return name, kind(reactor, **settings)


def _proxy(options: Options) -> Proxy | None:
    return Proxy(**options.settings(Proxy)) if options["proxy-from"] else None


def _endpoint(reactor: Any, option: str, text: str, proxy: Proxy | None = None) -> _NamedEndpoint:
    try:
        endpoint, inner = proxiedEndpoint(reactor, text, proxy), text.removeprefix(HAPROXY)
        return text, Reclaiming(endpoint, belongsToUser(text), inner)
    except Exception as error:
        giveUp(f"{option} {text!r} is no endpoint: {error}")


def _actions(reactor: Any, options: Options, factory: TCPDemoFactory) -> Any:
    """
    What carries out the actions of the status page; L{None} without a token for them.
    """
    if options["control-token-file"] is None:
        return None
    from twisted_tcpdemo.control.start import steeringFor

    tokenFile = options["control-token-file"]
    return steeringFor(reactor, factory, tokenFile, options.said)


def _companions(reactor: Any, options: Options, factory: TCPDemoFactory) -> list[Companion]:
    """
    The status page, control and the agent-check; each is imported only if it is asked for.
    """
    companions: list[Companion] = []
    if options["status"] is not None:
        from twisted_tcpdemo.status.service import companionFor as pageFor

        where, tokenFile = options["status"], options["status-token-file"]
        control = _actions(reactor, options, factory)
        companions.append(pageFor(reactor, factory, where, tokenFile, control, said=options.said))
    if options["control"] is not None:
        from twisted_tcpdemo.control.start import companionFor

        where, tokenFile = options["control"], options["control-token-file"]
        companions.append(companionFor(reactor, factory, where, tokenFile, options.said))
    if options["agent"] is not None:
        from twisted_tcpdemo.status.agent import companionFor as agentFor

        companions.append(agentFor(reactor, factory, options["agent"], options.said))
    return companions
