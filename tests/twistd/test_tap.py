"""
The command line: strings to objects.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService, IServiceMaker
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.protocol import Protocol
from twisted.plugin import IPlugin, getPlugins
from zope.interface.verify import verifyObject

from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.connection.hosting import Hosted
from twisted_tcpdemo.fast.endpoint import ServerEndpoint, hasIPv6
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.twistd import tap
from twisted_tcpdemo.twistd.programs import Discard, Echo, ReportProtocol


class Mine(TCPDemoProtocol):
    """
    A user's own protocol.
    """


class Needy(TCPDemoProtocol):
    """
    One that cannot be built without an argument.
    """

    def __init__(self, name: str) -> None:
        self.name = name


class Untold(Protocol, dict):  # type: ignore[type-arg]
    """
    One that does not tell its arguments.
    """


def parsed(*arguments: str) -> tap.Options:
    """
    Parse a command line.
    """
    options = tap.Options()
    options.parseOptions(arguments)
    return options


def serviceOf(*arguments: str) -> Any:
    """
    The service of a command line.
    """
    return tap.makeService(parsed(*arguments))


def factoryOf(*arguments: str) -> TCPDemoFactory:
    """
    The factory of a command line.
    """
    factory: TCPDemoFactory = serviceOf(*arguments)._factory
    return factory


def refused(*arguments: str) -> str:
    """
    The one line with which a command line is refused.
    """
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StartError):
        patch.setattr(sys, "__stderr__", error := StringIO())
        serviceOf(*arguments)
    [line] = error.getvalue().splitlines()
    assert line.startswith("tcpdemo: ")
    return line.removeprefix("tcpdemo: ")


def test_plugin() -> None:
    """
    Twisted finds the plugin, and it makes the service.
    """
    [plugin] = [p for p in getPlugins(IServiceMaker) if p.tapname == "tcpdemo"]
    verifyObject(IPlugin, plugin)
    assert plugin.options is tap.Options
    assert plugin.makeService is tap.makeService
    verifyObject(IService, plugin.makeService(plugin.options()))


def test_defaults() -> None:
    """
    What holds when nothing is asked for.
    """
    service = serviceOf()
    factory = service._factory
    assert isinstance(service, TCPDemoService)
    assert (factory.maxConnections, factory.noDelay, factory.keepAlive) == (None, True, False)
    assert (factory.allowHalfOpen, factory.pauseOnConnect) == (False, False)
    assert (factory.budgets.idle, service._drain) == (300, 10)
    assert isinstance(factory.buildProtocol(None), ReportProtocol)
    assert factory.buildProtocol(None)._preview == 256
    assert [type(o) for o in factory._observers._observers] == [LoggingObserver]
    [(name, endpoint)] = service._endpoints
    assert endpoint._port == 18001 and endpoint._backlog == 511
    assert name in {"[::]:18001", "0.0.0.0:18001"}


def test_options() -> None:
    """
    Each option arrives where it belongs.
    """
    factory = factoryOf(
        *("--max-connections", "7", "--allow-half-open", "--nagle", "--keep-alive"),
        *("--keep-alive-delay", "20", "--idle-timeout", "4", "--pause-on-connect", "1.5"),
        *("--preview", "9"),
    )
    assert (factory.maxConnections, factory.allowHalfOpen, factory.noDelay) == (7, True, False)
    assert (factory.keepAlive, factory.keepAliveInitialDelay) == (True, 20)
    assert (factory.pauseOnConnect, factory.resumeAfter, factory.budgets.idle) == (True, 1.5, 4)
    assert factory.buildProtocol(None)._preview == 9  # type: ignore[attr-defined]
    assert serviceOf("--drain", "3")._drain == 3


def test_zeroIsOff() -> None:
    """
    A time of 0 switches it off; a limit of 0 is nobody.
    """
    factory = factoryOf("--idle-timeout", "0", "--pause-on-connect", "0", "-m", "0")
    assert (factory.budgets.idle, factory.pauseOnConnect, factory.maxConnections) == (None, 0, 0)


NUMBERS = {
    "port": (["0", "65535"], ["-1", "65536", "x", "", "1.5"]),
    "backlog": (["1", "2147483647"], ["0", "-1", "2147483648", "x"]),
    "max-connections": (["0", "1000000"], ["-1", "x", "1.5"]),
    "idle-timeout": (["0", "0.5", "1e9"], ["-1", "x", "nan", "inf", "1e10"]),
    "pause-on-connect": (["0", "0.5"], ["-0.1", "nan", "inf"]),
    "keep-alive-delay": (["0", "60", "32767"], ["-1", "x", "0.5", "32768"]),
    "preview": (["0", "100000"], ["-1", "x", "1.5"]),
    "drain": (["0", "0.5"], ["-1", "x", "inf"]),
}


@pytest.mark.parametrize(
    ("option", "value"), [(o, v) for o, (good, _) in NUMBERS.items() for v in good]
)
def test_number(option: str, value: str) -> None:
    """
    A number in its range is taken.
    """
    assert parsed("--keep-alive", f"--{option}", value)[option] == float(value)


@pytest.mark.parametrize(
    ("option", "value"), [(o, v) for o, (_, bad) in NUMBERS.items() for v in bad]
)
def test_badNumber(option: str, value: str) -> None:
    """
    Anything else is refused in one line, by the name of the option.
    """
    line = refused(f"--{option}={value}")
    assert line.startswith(f"--{option} must be a")
    assert line.endswith(f", not {value!r}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense"], "option --nonsense not recognized"),
        (["--port"], "option --port requires argument"),
        (["one", "two"], "unexpected argument 'one'"),
    ],
)
def test_usage(arguments: list[str], message: str) -> None:
    """
    What the command line does not know is refused in one line, without all of
    the help.
    """
    assert refused(*arguments) == message


def test_refusalMessage() -> None:
    """
    What a refused client is told goes out as UTF-8; there need not be any.
    """
    assert factoryOf("--refusal-message", "völlig").refusalMessage == "völlig".encode()
    assert factoryOf("--refusal-message", "").refusalMessage == factoryOf().refusalMessage == b""


def test_badRefusalMessage() -> None:
    """
    Bytes from the shell that are no UTF-8 are refused in one line.
    """
    message = os.fsdecode(b"\xff")
    line = f"--refusal-message must be UTF-8, not {message!r}"
    assert refused("--refusal-message", message) == line


# Where it listens.


def test_listen() -> None:
    """
    Endpoint strings come instead of the default port, in their order.
    """
    service = serviceOf("--listen", "tcp:1", "--listen", "unix:/x")
    assert [name for name, _ in service._endpoints] == ["tcp:1", "unix:/x"]


def test_listenBesidePort() -> None:
    """
    A port that is asked for comes beside them, and first.
    """
    service = serviceOf("--listen", "unix:/x", "--port", "0", "--interface", "127.0.0.1")
    assert [name for name, _ in service._endpoints] == ["127.0.0.1:0", "unix:/x"]


@pytest.mark.parametrize("text", ["ssl:0:privateKey=x", "tls:0:x"])
def test_endpointWithoutTLS(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without pyOpenSSL, an endpoint that needs it is refused with how to get it.
    """
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    assert "pip install 'twisted-tcpdemo[tls]'" in refused("--listen", text)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "nonsense:1", "tcp:x", "tcp:1:nonsense=2", "tcp:"]
)
def test_badEndpoint(text: str) -> None:
    """
    A bad endpoint string is refused in one line, when it is given.
    """
    assert refused("--listen", text).startswith(f"--listen {text!r} is no endpoint: ")


@pytest.mark.parametrize(
    ("interface", "name", "kind"),
    [
        ("127.0.0.1", "127.0.0.1:5", TCP4ServerEndpoint),
        ("0.0.0.0", "0.0.0.0:5", TCP4ServerEndpoint),
        ("::1", "[::1]:5", TCP6ServerEndpoint),
        ("::", "[::]:5", TCP6ServerEndpoint),
        ("fe80::1%lo", "[fe80::1%lo]:5", TCP6ServerEndpoint),
    ],
)
def test_interface(interface: str, name: str, kind: type) -> None:
    """
    An address is listened on in its own family, on our transport or Twisted's.
    """
    options = ("--port", "5", "--interface", interface)
    for transport, expected in (("fast", ServerEndpoint), ("twisted", kind)):
        [(found, endpoint)] = serviceOf(*options, "--transport", transport)._endpoints
        assert (found, type(endpoint)) == (name, expected)
        assert endpoint._interface == interface


@pytest.mark.parametrize(("ipv6", "name"), [(True, "[::]:5"), (False, "0.0.0.0:5")])
def test_everyInterface(monkeypatch: pytest.MonkeyPatch, ipv6: bool, name: str) -> None:
    """
    Without an interface: dual stack where there is IPv6, IPv4 elsewhere.
    """
    monkeypatch.setattr(tap, "hasIPv6", lambda: ipv6)
    [(found, endpoint)] = serviceOf("--port", "5")._endpoints
    assert (found, endpoint._interface) == (name, "::" if ipv6 else "0.0.0.0")


class NoSocket:
    """
    As socket.socket, where the kernel has no IPv6.
    """

    def __init__(self, *arguments: object) -> None:
        raise OSError(97, "Address family not supported by protocol")


def test_hasIPv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    IPv6 is there when a socket can be bound, not when Python was built with it.
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


# Who may come in.


def test_noRules() -> None:
    """
    Without an option about peers or networks there is no policy to be asked.
    """
    assert factoryOf().admission is None


def test_rules() -> None:
    """
    Networks and peers are judged as the options say, in that order.
    """
    admission: Any = factoryOf(
        *("--allow", "192.0.2.0/24", "--allow", "198.51.100.1", "--deny", "192.0.2.9"),
        *("--max-per-peer", "2", "--peer-rate", "1.5", "--exempt", "2001:db8::/32", "--dry-run"),
    ).admission
    assert admission.dryRun
    admission.dryRun = False

    def rule(host: str, kind: type = IPv4Address) -> str | None:
        decided: str | None = admission.decide(None, kind("TCP", host, 1), 0.0)
        return decided

    assert rule("203.0.113.1") == "allowedNetworks"
    assert rule("192.0.2.9") == "deniedNetworks"
    assert rule("198.51.100.1") is None
    assert rule("2001:db8::1", IPv6Address) is None


RULES = "--allow or --deny or --max-per-peer or --peer-rate"


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--listen", "tcp:1", "--interface", "127.0.0.1"], "--port"),
        (["--listen", "tcp:1", "--backlog", "511"], "--port"),
        (["--listen", "tcp:1", "--transport", "fast"], "--port"),
        (["--keep-alive-delay", "60"], "--keep-alive"),
        (["--peer-burst", "10"], "--peer-rate"),
        (["--exempt", "127.0.0.1"], RULES),
        (["--dry-run"], RULES),
        (["--control-token-file", "/x"], "--control"),
    ],
)
def test_alone(arguments: list[str], needed: str) -> None:
    """
    An option that would have no effect without another is refused, even with
    the value that is its default.
    """
    [option] = [a for a in arguments if a.startswith("--") and a != "--listen"]
    assert refused(*arguments) == f"{option} goes with {needed}"


@pytest.mark.parametrize("rule", RULES.split(" or "))
def test_anyRule(rule: str) -> None:
    """
    Peers can be exempt from any of the rules.
    """
    value = "192.0.2.0/24" if rule in ("--allow", "--deny") else "1"
    assert factoryOf(rule, value, "--exempt", "127.0.0.1", "--dry-run").admission is not None


@pytest.mark.parametrize("option", ["--allow", "--deny", "--exempt"])
def test_badNetwork(option: str) -> None:
    """
    What is no network is refused in one line that names the option.
    """
    assert refused(option, "192.0.2.1/24").startswith(f"{option}: 192.0.2.1/24 has host bits")
    assert refused(option, "nonsense").startswith(f"{option}: 'nonsense' does not appear")


# What it speaks.


@pytest.mark.parametrize(
    ("name", "kind"),
    [("report", ReportProtocol), ("echo", Echo), ("discard", Discard), (f"{__name__}.Mine", Mine)],
)
def test_protocol(name: str, kind: type) -> None:
    """
    Our programs go by their names, a user's class by its dotted one.
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "must be one of report, echo, discard, or the dotted name of a protocol"),
        ("", "must be one of report, echo, discard"),
        ("no.such.thing", "'no.such.thing' cannot be imported: "),
        ("os.nothing", "'os.nothing' cannot be imported: module 'os' has no attribute 'nothing'"),
        (".x", "'.x' cannot be imported: "),
        ("os.path", "'os.path' is no protocol class"),
        ("collections.OrderedDict", "'collections.OrderedDict' is no protocol class"),
        (f"{__name__}.Needy", f"'{__name__}.Needy' cannot be built without arguments"),
    ],
)
def test_badProtocol(name: str, message: str) -> None:
    """
    What is no protocol class is refused in one line, when it is given.
    """
    assert refused("--protocol", name).startswith(f"--protocol {message}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """
    A folder whose modules can be imported.
    """
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('first\\nsecond')", "first second"),
        ("raise SystemExit(3)", "SystemExit(3)"),
        ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("def", "invalid syntax"),
    ],
)
def test_badModule(folder: Path, text: str, message: str) -> None:
    """
    A user's module that cannot be imported is named, with the reason.
    """
    (folder / "badmodule.py").write_text(text)
    line = refused("--protocol", "badmodule.P")
    assert line.startswith(f"--protocol 'badmodule.P' cannot be imported: {message}")


# What it tells of itself.


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """
    --version shows the version.
    """
    with pytest.raises(SystemExit) as ended:
        parsed("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("twisted-tcpdemo 0.")


def test_help() -> None:
    """
    --help has every option, each with its default, and an example.
    """
    text = " ".join(str(parsed()).split())
    for name, _, default, about, *_ in tap.Options.optParameters:
        assert f"--{name}=" in text
        assert ("[default:" in about) != (default is not None)
    for name, *_ in tap.Options.optFlags:
        assert f"--{name} " in text
    assert "--listen=" in text
    assert "Example: twistd -n tcpdemo" in text
