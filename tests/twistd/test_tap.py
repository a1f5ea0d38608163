"""
What twistd runs: a command line made into a service.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService, IServiceMaker
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.protocol import Protocol
from twisted.plugin import IPlugin, getPlugins
from zope.interface.verify import verifyObject

from tests.support.commandline import factoryOf, refused, serviceOf
from tests.support.peers import rawConnection
from tests.support.proxies import CLIENT, LINE
from tests.support.waiting import until
from twisted_tcpdemo import TCPDemoProtocol
from twisted_tcpdemo.connection.hosting import Hosted
from twisted_tcpdemo.fast import endpoint
from twisted_tcpdemo.fast.accepting import AcceptingPort
from twisted_tcpdemo.fast.endpoint import ServerEndpoint, hasIPv6
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.twistd import tap
from twisted_tcpdemo.twistd.options import Options
from twisted_tcpdemo.twistd.programs import Discard, Echo, ReportProtocol
from twisted_tcpdemo.values.budgets import Budgets


class Mine(TCPDemoProtocol):
    """
    A user's own protocol.
    """


class Untold(Protocol, dict):  # type: ignore[type-arg]
    """
    A user's protocol whose arguments cannot be inspected.
    """


def test_plugin() -> None:
    """
    Twisted finds the plugin, and it makes the service.
    """
    [plugin] = [p for p in getPlugins(IServiceMaker) if p.tapname == "tcpdemo"]
    verifyObject(IPlugin, plugin)
    assert plugin.options is Options
    assert plugin.makeService is tap.makeService
    verifyObject(IService, plugin.makeService(plugin.options()))


def test_defaults() -> None:
    """
    The defaults hold when no option is given.
    """
    service = serviceOf()
    factory = service._factory
    assert isinstance(service, TCPDemoService)
    assert (factory.maxConnections, factory.noDelay, factory.keepAlive) == (None, True, False)
    assert (factory.allowHalfOpen, factory.pauseOnConnect) == (False, False)
    assert (factory.budgets.idle, service._drain) == (300, 10)
    assert isinstance(factory.buildProtocol(None), ReportProtocol)
    assert factory.buildProtocol(None)._preview == 256
    assert [type(o) for o in factory._observers.present] == [LoggingObserver]
    [(name, endpoint)] = service._endpoints
    assert endpoint._port == 18001 and endpoint._backlog == 511
    assert name in {"[::]:18001", "0.0.0.0:18001"}


def test_options() -> None:
    """
    Each option reaches its place.
    """
    factory = factoryOf(
        *("--max-connections", "7", "--allow-half-open", "--nagle", "--keep-alive"),
        *("--keep-alive-interval", "3", "--keep-alive-count", "4"),
        *("--keep-alive-delay", "20", "--idle-timeout", "4", "--pause-on-connect", "1.5"),
        *("--preview", "9"),
    )
    assert (factory.maxConnections, factory.allowHalfOpen, factory.noDelay) == (7, True, False)
    assert (factory.keepAlive, factory.keepAliveInitialDelay) == (True, 20)
    assert (factory.keepAliveInterval, factory.keepAliveCount) == (3, 4)
    assert (factory.pauseOnConnect, factory.resumeAfter, factory.budgets.idle) == (True, 1.5, 4)
    assert factory.buildProtocol(None)._preview == 9  # type: ignore[attr-defined]
    assert serviceOf("--drain", "3")._drain == 3


def test_zeroIsOff() -> None:
    """
    A time of 0 switches it off; a limit of 0 admits no client.
    """
    factory = factoryOf("--idle-timeout", "0", "--pause-on-connect", "0", "-m", "0")
    assert (factory.budgets.idle, factory.pauseOnConnect, factory.maxConnections) == (None, 0, 0)


def test_refusalMessage() -> None:
    """
    The refusal message is sent as UTF-8; it may be empty.
    """
    assert factoryOf("--refusal-message", "völlig").refusalMessage == "völlig".encode()
    assert factoryOf("--refusal-message", "").refusalMessage == factoryOf().refusalMessage == b""


def test_budgets() -> None:
    """
    Each budget of a connection reaches its place.
    """
    factory = factoryOf(
        *("--first-byte-timeout", "1", "--idle-timeout", "2", "--max-lifetime", "3"),
        *("--write-timeout", "4", "--close-timeout", "5", "--handshake-timeout", "6"),
        *("--max-pending", "7"),
    )
    assert factory.budgets == Budgets(
        firstByte=1,
        idle=2,
        lifetime=3,
        lifetimeJitter=0.1,
        writeStall=4,
        closeFlush=5,
        handshake=6,
        maxPending=7,
    )


class Read(Options):
    """
    Options that remember the ones that were read.
    """

    def __init__(self) -> None:
        self.read: set[str] = set()
        super().__init__()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)


EARLIER = {"log-format", "show-config"}
"""Options that hold before there is a service: C{twistd} begins its log, or ends."""


def test_everyOption(tmp_path: Path) -> None:
    """
    Every option is read when the service is made.
    """
    options = Read()
    rules = ("--allow", "::/0", "--deny", "::1", "--max-per-peer", "1", "--peer-rate", "1")
    companions = ("--status", "tcp:0", "--control", str(tmp_path / "control"))
    options.parseOptions([*rules, *companions])
    options.read.clear()
    tap.makeService(options)
    assert options.read == {option.name for option in Options.table} - EARLIER


# Listeners.


def test_listen() -> None:
    """
    Endpoint strings replace the default port, in their order.
    """
    service = serviceOf("--listen", "tcp:1", "--listen", "unix:/x")
    assert [name for name, _ in service._endpoints] == ["tcp:1", "unix:/x"]


def test_listenBesidePort() -> None:
    """
    A given port is added to endpoint strings, as the first.
    """
    service = serviceOf("--listen", "unix:/x", "--port", "0", "--interface", "127.0.0.1")
    assert [name for name, _ in service._endpoints] == ["127.0.0.1:0", "unix:/x"]


@pytest.mark.parametrize("text", ["tcp:0:interface=127.0.0.1", "unix:{}", "fasttcp:0", "control"])
@pytest.mark.parametrize("transport", ["fast", "twisted"])
async def test_lane(text: str, transport: str, tmp_path: Path) -> None:
    """
    Under the fast transport each endpoint string makes a port of the lane, for
    clients, the status page and control alike; else Twisted's.
    """
    text = text.format(tmp_path / "s")
    options = ["--transport", transport]
    if text == "control":
        service = serviceOf(*options, "--port", "0", "--control", f"{tmp_path}/c")
    else:
        service = serviceOf(*options, "--listen", text, "--status", f"unix:{tmp_path}/page")
    [companion] = service.companions
    service.privilegedStartService()
    service.startService()
    try:
        ports = [*service.server._factory.ports, companion.port]
        fast = [isinstance(port, AcceptingPort) for port in ports]
        # fasttcp: says what it is.
        assert fast == [transport == "fast" or text.startswith("fasttcp"), transport == "fast"]
    finally:
        await service.stopService()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["ssl:0:privateKey=x", "tls:0:x"])
def test_endpointWithoutTLS(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without pyOpenSSL, an endpoint that needs it is refused, with the way to install
    it.
    """
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    assert "pip install 'twisted-tcpdemo[tls]'" in refused("--listen", text)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "nonsense:1", "tcp:x", "tcp:1:nonsense=2", "tcp:"]
)
def test_badEndpoint(text: str) -> None:
    """
    A malformed endpoint string is refused in one line, at once.
    """
    assert refused("--listen", text).startswith(f"--listen {text!r} is no endpoint: ")


@pytest.mark.parametrize(
    ("interface", "spelled", "name", "kind"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1:5", TCP4ServerEndpoint),
        ("0.0.0.0", "0.0.0.0", "0.0.0.0:5", TCP4ServerEndpoint),
        ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1:5", TCP4ServerEndpoint),
        ("0:0:0:0:0:ffff:7f00:1", "127.0.0.1", "127.0.0.1:5", TCP4ServerEndpoint),
        ("::1", "::1", "[::1]:5", TCP6ServerEndpoint),
        ("0:0:0:0:0:0:0:1", "::1", "[::1]:5", TCP6ServerEndpoint),
        ("::", "::", "[::]:5", TCP6ServerEndpoint),
        ("fe80:0::1%lo", "fe80::1%lo", "[fe80::1%lo]:5", TCP6ServerEndpoint),
    ],
)
def test_interface(interface: str, spelled: str, name: str, kind: type) -> None:
    """
    A listener has the family of its address, in its one spelling, on our transport or
    Twisted's.
    """
    options = ("--port", "5", "--interface", interface)
    for transport, expected in (("fast", ServerEndpoint), ("twisted", kind)):
        [(found, endpoint)] = serviceOf(*options, "--transport", transport)._endpoints
        assert (found, type(endpoint)) == (name, expected)
        assert endpoint._interface == spelled


@pytest.mark.parametrize(("ipv6", "name"), [(True, "[::]:5"), (False, "0.0.0.0:5")])
def test_everyInterface(monkeypatch: pytest.MonkeyPatch, ipv6: bool, name: str) -> None:
    """
    Without an interface the listener is dual stack, or IPv4 on a system without
    IPv6.
    """
    monkeypatch.setattr(tap, "hasIPv6", lambda: ipv6)
    [(found, endpoint)] = serviceOf("--port", "5")._endpoints
    assert (found, endpoint._interface) == (name, "::" if ipv6 else "0.0.0.0")


@pytest.mark.parametrize("interface", [(), ("--interface", "::")])
async def test_ipv6Only(interface: tuple[str, ...]) -> None:
    """
    With --ipv6-only the server takes no IPv4 clients.
    """
    if not hasIPv6():
        pytest.skip("there is no IPv6 here")
    service = serviceOf("--port", "0", "--ipv6-only", *interface)
    service.startService()
    await until(lambda: service._factory.listening)
    [port] = service._factory.ports
    with socket.socket() as raw, pytest.raises(ConnectionRefusedError):
        raw.connect(("127.0.0.1", port.getHost().port))
    await service.stopService()


@pytest.mark.parametrize("interface", ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0"])
def test_ipv6OnlyOnIPv4(interface: str) -> None:
    """
    An IPv4 address takes no IPv6 clients, so --ipv6-only is refused.
    """
    line = refused("--ipv6-only", "--interface", interface)
    assert line == "--ipv6-only goes with an IPv6 address in --interface, or none"


class NoSocket:
    """
    Acts as socket.socket on a kernel without IPv6.
    """

    def __init__(self, *arguments: object) -> None:
        raise OSError(97, "Address family not supported by protocol")


def test_hasIPv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    IPv6 is available when a socket can be bound, not when Python was built with it.
    """
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", NoSocket)
        assert not hasIPv6()
    with monkeypatch.context() as patch:
        patch.setattr(socket, "has_ipv6", False)
        assert not hasIPv6()
    try:
        socket.create_server(("::", 0), family=socket.AF_INET6).close()
    except OSError:
        assert not hasIPv6()
    else:
        assert hasIPv6()


# Admission.


def test_noRules() -> None:
    """
    Without an option about peers or networks there is no admission policy.
    """
    assert factoryOf().admission is None


def test_rules() -> None:
    """
    Networks and peers are judged by the options, in their order.
    """
    admission: Any = factoryOf(
        *("--allow", "192.0.2.0/24", "--allow", "198.51.100.1", "--deny", "192.0.2.9"),
        *("--max-per-peer", "2", "--peer-rate", "1.5", "--exempt", "2001:db8::/32", "--dry-run"),
    ).admission
    assert admission.dryRun
    admission.dryRun = False
    perPeer, rate = admission.rules[2:]
    assert (perPeer.limit, rate.rate, rate.burst) == (2, 1.5, 10)

    def rule(host: str, kind: type = IPv4Address) -> str | None:
        decided: str | None = admission.decide(None, kind("TCP", host, 1), 0.0)
        return decided

    assert rule("203.0.113.1") == "allowedNetworks"
    assert rule("192.0.2.9") == "deniedNetworks"
    assert rule("198.51.100.1") is None
    assert rule("2001:db8::1", IPv6Address) is None


@pytest.mark.parametrize("rule", ["--allow", "--deny", "--max-per-peer", "--peer-rate"])
def test_anyRule(rule: str) -> None:
    """
    Peers can be exempt from each of the rules.
    """
    value = "192.0.2.0/24" if rule in ("--allow", "--deny") else "1"
    assert factoryOf(rule, value, "--exempt", "127.0.0.1", "--dry-run").admission is not None


# Protocols.


@pytest.mark.parametrize(
    ("name", "kind"),
    [("report", ReportProtocol), ("echo", Echo), ("discard", Discard), (f"{__name__}.Mine", Mine)],
)
def test_protocol(name: str, kind: type) -> None:
    """
    A program has a short name, a user's class its dotted name.
    """
    assert type(factoryOf("--protocol", name).buildProtocol(None)) is kind


@pytest.mark.parametrize("name", ["twisted.protocols.wire.Echo", f"{__name__}.Untold"])
def test_foreignProtocol(name: str) -> None:
    """
    Any other protocol class is hosted.
    """
    protocol = factoryOf("--protocol", name).buildProtocol(None)
    assert isinstance(protocol, Hosted)
    assert type(protocol.inner).__name__ == name.rpartition(".")[2]


async def test_proxies() -> None:
    """
    With C{--proxy-protocol}, clients of the port are known by their PROXY headers;
    those of C{haproxy:} strings always.
    """
    service = serviceOf(
        *("--port", "0", "--interface", "127.0.0.1", "--proxy-protocol"),
        *("--listen", "haproxy:tcp:0:interface=127.0.0.1", "--proxy-from", "127.0.0.0/8"),
        *("--protocol", "discard"),
    )
    service.startService()
    factory = service._factory
    raws = [rawConnection(port.getHost().port) for port in factory.ports]
    for raw in raws:
        raw.send(LINE)
    await until(lambda: factory.connectionCount == 2)
    assert [protocol.peer for protocol in factory.connections] == [CLIENT, CLIENT]
    for raw in raws:
        raw.close()
    await service.stopService()


def test_proxiesElsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where PROXY headers cannot be read, the server does not start.
    """
    monkeypatch.setattr(endpoint, "canPoll", lambda reactor: False)
    line = refused("--proxy-protocol", "--proxy-from", "127.0.0.1")
    assert line.startswith("--port: proxy needs a POSIX reactor")
