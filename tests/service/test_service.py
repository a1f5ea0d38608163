"""
The service that twistd runs: listen, serve, come to rest.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Generator
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.support.peers import Events
from tests.support.waiting import until
from twisted_tcpdemo import CloseReason, TCPDemoFactory
from twisted_tcpdemo.monitoring.snapshot import stateOf
from twisted_tcpdemo.service.endpoints import Reclaiming
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.service.startup import StartError, giveUp
from twisted_tcpdemo.service.systemd import Systemd
from twisted_tcpdemo.twistd.programs import Discard


@implementer(IStreamServerEndpoint)
class Slow:
    """
    An endpoint that listens when the test tells it to.
    """

    def __init__(self) -> None:
        self.asked: list[Deferred[IListeningPort]] = []

    def listen(self, factory: Factory[Any]) -> Deferred[IListeningPort]:
        """
        Listen later.
        """
        self.asked.append(Deferred())
        return self.asked[-1]


@implementer(IStreamServerEndpoint)
class Failing:
    """
    An endpoint that cannot listen.
    """

    def __init__(self, error: Exception) -> None:
        self._error = error

    def listen(self, factory: Factory[Any]) -> Deferred[IListeningPort]:
        """
        Fail.
        """
        return fail(self._error)


@pytest.fixture
def log() -> Generator[list[str]]:
    """
    The lines of the log.
    """
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def reactor() -> MemoryReactorClock:
    """
    A reactor in memory, with a clock.
    """
    return MemoryReactorClock()


@pytest.fixture
def factory(reactor: MemoryReactorClock) -> TCPDemoFactory:
    """
    A factory with the clock of that reactor.
    """
    return TCPDemoFactory(Discard, clock=reactor)


def serviceOf(factory: TCPDemoFactory, reactor: Any, *endpoints: Any, **options: Any) -> Any:
    """
    A service on some endpoints, or on one port.
    """
    chosen = endpoints or (TCP4ServerEndpoint(reactor, 0),)
    named = [(f"endpoint {i}", endpoint) for i, endpoint in enumerate(chosen)]
    return TCPDemoService(factory, named, reactor=reactor, **options)


def join(factory: TCPDemoFactory, count: int = 1) -> list[StringTransport]:
    """
    Connect clients in memory.
    """
    transports = [StringTransport() for _ in range(count)]
    for transport in transports:
        factory.buildProtocol(None).makeConnection(transport)
    return transports


def test_interface(factory: TCPDemoFactory, reactor: MemoryReactorClock) -> None:
    """
    The service is a service of Twisted's.
    """
    verifyObject(IService, serviceOf(factory, reactor))


@pytest.mark.parametrize("option", ["drain", "spread", "hardStop"])
def test_badTime(factory: TCPDemoFactory, option: str) -> None:
    """
    A time out of range is refused when it is given, not when the service stops.
    """
    with pytest.raises(ValueError, match=option):
        TCPDemoService(factory, [], **{option: float("inf")})


# Starting.


@pytest.mark.parametrize("privileged", [True, False])
def test_listensOnce(
    factory: TCPDemoFactory, reactor: MemoryReactorClock, privileged: bool
) -> None:
    """
    The service listens on all of its endpoints once, whether the process begins
    with privileges, as under twistd, or not, as under twist.
    """
    endpoints = [TCP4ServerEndpoint(reactor, port) for port in (1, 2)]
    service = serviceOf(factory, reactor, *endpoints)
    if privileged:
        service.privilegedStartService()
    service.startService()
    assert [server[0] for server in reactor.tcpServers] == [1, 2]
    assert service.running


def test_shedPrivileges(factory: TCPDemoFactory, reactor: MemoryReactorClock) -> None:
    """
    A path is made when the process has shed its privileges: it has to belong to the
    user that removes it again.  It is made once in each run.
    """
    first, second = Slow(), Slow()
    path = Reclaiming(second, belongsToUser=True)
    service = serviceOf(factory, reactor, first, path)
    for run in (1, 2):
        service.privilegedStartService()
        assert (len(first.asked), len(second.asked)) == (run, run - 1)
        service.startService()
        assert (len(first.asked), len(second.asked)) == (run, run)
        service.stopService()


def test_listensOnceWhenSlow(factory: TCPDemoFactory, reactor: MemoryReactorClock) -> None:
    """
    A slow endpoint is asked once.
    """
    slow = Slow()
    service = serviceOf(factory, reactor, slow)
    service.privilegedStartService()
    service.startService()
    assert len(slow.asked) == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            CannotListenError("::", 1, OSError(98, "Address already in use")),
            "Address already in use",
        ),
        (CannotListenError("::", 1, OverflowError("port must be 0-65535.")), "port must be"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (ValueError("what is that?"), "what is that?"),
        (ValueError("two\nlines"), "two lines"),
        (ValueError(), "ValueError"),
    ],
)
def test_cannotListen(
    factory: TCPDemoFactory,
    reactor: MemoryReactorClock,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    message: str,
) -> None:
    """
    A service that cannot listen does not start; one line tells the endpoint and the
    reason.
    """
    service = serviceOf(factory, reactor, Failing(error))
    with pytest.raises(StartError) as raised:
        service.startService()
    assert str(raised.value).startswith(f"tcpdemo: cannot listen on endpoint 0: {message}")
    assert "\n" not in str(raised.value)
    assert raised.value.code == 1


def test_giveUp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A failed start prints one line on the real standard error, and ends the process
    with an exception that prints nothing more.
    """
    import sys

    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    with pytest.raises(StartError) as raised:
        giveUp("first\n  second")
    assert capsys.readouterr().err == "tcpdemo: first second\n"
    assert isinstance(raised.value, SystemExit) and isinstance(raised.value, Exception)


def test_cannotListenLater(
    factory: TCPDemoFactory,
    reactor: MemoryReactorClock,
    monkeypatch: pytest.MonkeyPatch,
    log: list[str],
) -> None:
    """
    An endpoint that fails after the start ends the process by a signal: it must not
    run without a listener.
    """
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    slow = Slow()
    service = serviceOf(factory, reactor, slow)
    service.startService()
    slow.asked[0].errback(CannotListenError("::", 1, OSError(98, "Address already in use")))
    assert raised == [signal.SIGTERM]
    assert "cannot listen on endpoint 0: Address already in use" in log


def test_listensLater(
    factory: TCPDemoFactory, reactor: MemoryReactorClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An endpoint that succeeds after the start listens like any other.
    """
    monkeypatch.setattr(signal, "raise_signal", pytest.fail)
    slow = Slow()
    service = serviceOf(factory, reactor, slow)
    service.startService()
    slow.asked[0].callback(reactor.listenTCP(1, factory))
    assert factory.listening


# Stopping.


async def test_stopWithoutStart(factory: TCPDemoFactory, reactor: MemoryReactorClock) -> None:
    """
    Stopping a service that was never started does nothing.
    """
    report = await serviceOf(factory, reactor).stopService()
    assert (report.finished, report.aborted) == (0, 0)


async def test_halfAStart(
    factory: TCPDemoFactory, reactor: MemoryReactorClock, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    If the second of two endpoints fails, the first is closed, the service has
    not started, and stopping does nothing.
    """
    events = Events()
    factory.addObserver(events)
    endpoints = (TCP4ServerEndpoint(reactor, 1), Failing(ValueError("no")))
    service = serviceOf(factory, reactor, *endpoints)
    with pytest.raises(StartError):
        service.startService()
    assert events.names == ["listening", "serverError", "listeningStopped"]
    assert not service.running
    report = await service.stopService()
    assert (report.finished, report.aborted) == (0, 0)


async def test_startAfterAFailure(capfd: pytest.CaptureFixture[str]) -> None:
    """
    A service that could not listen can be started again later.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Discard)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        endpoints = [
            (text, serverFromString(reactor, f"tcp:{text}:interface=127.0.0.1"))
            for text in ("0", str(port))
        ]
        service = TCPDemoService(factory, endpoints)
        with pytest.raises(StartError):
            service.startService()
    await until(lambda: not factory.listening)
    service.startService()
    assert [address.port == port for address in factory.addresses()] == [False, True]
    await service.stopService()


async def test_stopWhileListening(
    factory: TCPDemoFactory, reactor: MemoryReactorClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A slow endpoint that listens after the stop is closed without an error, even if
    the service has been started again.
    """
    monkeypatch.setattr(signal, "raise_signal", pytest.fail)
    slow = Slow()
    service = serviceOf(factory, reactor, slow)
    service.startService()
    await service.stopService()
    service.startService()
    late = reactor.listenTCP(1, factory)
    closed = []
    monkeypatch.setattr(late, "stopListening", lambda: closed.append(late))
    slow.asked[0].callback(late)
    assert closed == [late] and not factory.listening
    slow.asked[1].callback(reactor.listenTCP(1, factory))
    assert factory.listening


async def test_stoppedAgainWhileItDrains() -> None:
    """
    A service that is stopped, started and stopped within one drain listens no more,
    and waits for the clients of both times.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Discard)
    endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
    service = TCPDemoService(factory, [("it", endpoint)], drain=None)
    clients, stops = [], []
    for count in (1, 2):
        service.startService()
        address = factory.address()
        assert address is not None
        clients.append(socket.create_connection((address.address, address.port)))
        await until(lambda count=count: factory.connectionCount == count)
        stops.append(service.stopService())
        await until(lambda: not factory.listening)
    assert not any(stop.called for stop in stops)
    for client in clients:
        client.close()
    assert [(await stop).finished for stop in stops] == [2, 2]
    assert not factory.listening and not service.running


async def test_again() -> None:
    """
    It can be started and stopped again.
    """
    from twisted.internet import reactor

    factory = TCPDemoFactory(Discard)
    service = TCPDemoService(
        factory, [("it", serverFromString(reactor, "tcp:0:interface=127.0.0.1"))]
    )
    for _ in range(2):
        service.startService()
        address = factory.address()
        assert address is not None
        with socket.create_connection((address.address, address.port)):
            await until(lambda: factory.connectionCount)
        await service.stopService()
        assert not factory.listening and not service.running
    assert factory.closedCount == 2


async def test_drains(factory: TCPDemoFactory, reactor: MemoryReactorClock, log: list[str]) -> None:
    """
    A stop waits for the connections, logs the ones it waits for, and reports.
    """
    service = serviceOf(factory, reactor, drain=None)
    service.startService()
    join(factory, 2)
    stopped = service.stopService()
    assert not stopped.called
    first, second = factory.connections
    names = [f"{p.connectionID} (192.168.1.1:54321)" for p in (first, second)]
    assert f"waiting for {', '.join(names)}" in log
    first.connectionLost(Failure(ConnectionResetError()))
    reactor.advance(2)
    assert f"waiting for {names[1]}" in log
    second.connectionLost(Failure(ConnectionResetError()))
    report = await stopped
    assert (report.finished, report.aborted) == (2, 0)
    assert "drained: 2 finished, 0 aborted with 0 bytes unsent, in 2.000 s" in log
    assert not reactor.getDelayedCalls()


async def test_tellsOfFew(
    factory: TCPDemoFactory, reactor: MemoryReactorClock, log: list[str]
) -> None:
    """
    A stop that waits for many connections logs five of them.
    """
    service = serviceOf(factory, reactor, drain=60)
    service.startService()
    join(factory, 7)
    stopped = service.stopService()
    [line] = [line for line in log if line.startswith("waiting for")]
    assert line.count("192.168.1.1") == 5
    assert line.endswith(" and 2 more")
    for protocol in factory.connections:
        protocol.connectionLost(Failure(ConnectionResetError()))
    await stopped


async def test_cannotTell(
    factory: TCPDemoFactory,
    reactor: MemoryReactorClock,
    monkeypatch: pytest.MonkeyPatch,
    loggedErrors: Any,
) -> None:
    """
    An error in the line about connections is logged, and the stop still waits for
    them.
    """
    service = serviceOf(factory, reactor, drain=None)
    service.startService()
    join(factory)
    [protocol] = factory.connections
    monkeypatch.setattr("twisted_tcpdemo.service.service.listed", lambda *_: 1 / 0)
    stopped = service.stopService()
    assert not stopped.called
    protocol.connectionLost(Failure(ConnectionResetError()))
    assert (await stopped).finished == 1
    assert loggedErrors.take(ZeroDivisionError)


async def test_waitsWithoutReactor(log: list[str]) -> None:
    """
    A service that was never started still waits for connections that its factory
    has from elsewhere.
    """
    factory = TCPDemoFactory(Discard)
    join(factory)
    stopped = TCPDemoService(factory, [], drain=None).stopService()
    factory.connections[0].connectionLost(Failure(ConnectionResetError()))
    await stopped
    assert any(line.startswith("waiting for") for line in log)


async def test_deadline(factory: TCPDemoFactory, reactor: MemoryReactorClock) -> None:
    """
    At the deadline the remaining connections are aborted.
    """
    service = serviceOf(factory, reactor, drain=5)
    service.startService()
    [transport] = join(factory)
    [protocol] = factory.connections
    # The abortConnection of StringTransport does not call connectionLost.
    transport.abortConnection = lambda: protocol.connectionLost(  # type: ignore[attr-defined]
        Failure(ConnectionResetError())
    )
    protocol.dataReceived(b"busy")
    protocol.transport.loseConnection = lambda *_: None
    stopped = service.stopService()
    reactor.advance(4.9)
    assert not stopped.called
    reactor.advance(0.2)
    report = await stopped
    assert (report.finished, report.aborted) == (0, 1)
    assert protocol.closeReason is CloseReason.DRAIN


async def test_secondSignal(factory: TCPDemoFactory, reactor: MemoryReactorClock) -> None:
    """
    A signal while the reactor is stopping ends the wait.
    """
    handlers: dict[int, Any] = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    memory: Any = reactor
    memory.running = True
    memory.sigInt = memory.sigTerm = lambda number, frame: None
    memory.callFromThread = lambda function: function()
    signal.signal(signal.SIGTERM, memory.sigTerm)
    try:
        service = serviceOf(factory, reactor, drain=None)
        service.startService()
        [transport] = join(factory)
        [protocol] = factory.connections
        transport.abortConnection = lambda: protocol.connectionLost(  # type: ignore[attr-defined]
            Failure(ConnectionResetError())
        )
        [trigger] = reactor.triggers["before"]["shutdown"]
        trigger[0]()
        stopped = service.stopService()
        assert not stopped.called
        signal.raise_signal(signal.SIGTERM)
        assert (await stopped).aborted == 1
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Told(Systemd):
    """
    Remembers what systemd is told.
    """

    def __init__(self) -> None:
        super().__init__("@nobody", lambda: "fine")
        self.log: list[str] = []

    def _tell(self, *lines: str) -> None:
        self.log.append(lines[0])


async def test_drainDelay(factory: TCPDemoFactory, reactor: MemoryReactorClock) -> None:
    """
    With a delay, a service that stops accepts for some seconds more, with a sign for health
    checks, and drains then.
    """
    told = Told()
    service = serviceOf(factory, reactor, drain=5, drainDelay=3, systemd=told)
    service.startService()
    reactor.run()
    assert (stateOf(factory), told.log) == ("accepting", ["READY=1"])
    stopped = service.stopService()
    reactor.advance(2.9)
    assert (factory.listening, factory.leaving, stateOf(factory)) == (True, True, "leaving")
    join(factory)
    reactor.advance(0.2)
    assert (factory.listening, factory.leaving, stateOf(factory)) == (False, False, "draining")
    factory.connections[0].connectionLost(Failure(ConnectionDone()))
    assert (await stopped).finished == 1
    assert told.log == ["READY=1", "STOPPING=1"]


@pytest.mark.parametrize("how", ["hurry", "stop", "start"])
async def test_delayCutShort(
    factory: TCPDemoFactory, reactor: MemoryReactorClock, how: str
) -> None:
    """
    Another signal, stop or start ends the delay.
    """
    service = serviceOf(factory, reactor, drain=5, drainDelay=3)
    service.startService()
    first = service.stopService()
    if how == "hurry":
        service._hurry()
    elif how == "stop":
        assert (await service.stopService()).aborted == 0
    else:
        service.startService()
    assert (await first).aborted == 0
    assert factory.listening is (how == "start") and not factory.leaving
    reactor.advance(10)
    assert factory.listening is (how == "start")
    if how == "start":
        second = service.stopService()
        reactor.advance(4)
        assert (await second).aborted == 0


@pytest.mark.parametrize("isStarted", [True, False])
async def test_noDelay(
    factory: TCPDemoFactory, reactor: MemoryReactorClock, isStarted: bool
) -> None:
    """
    A service that does not listen any more, or that cannot serve, stops at once.
    """
    service = serviceOf(factory, reactor, drainDelay=3)
    if isStarted:
        service.startService()
        service._isHopeless = True
    assert (await service.stopService()).aborted == 0


def test_readyLast(factory: TCPDemoFactory, reactor: MemoryReactorClock) -> None:
    """
    Systemd hears that a service is ready when all of its endpoints listen.
    """
    slow, told = Slow(), Told()
    service = serviceOf(factory, reactor, slow, TCP4ServerEndpoint(reactor, 0), systemd=told)
    memory: Any = reactor
    memory.running = True
    service.startService()
    assert told.log == []
    slow.asked[0].callback(reactor.listenTCP(0, Factory()))
    assert told.log == ["READY=1"]
    service.stopService()


async def test_handlersComeBack() -> None:
    """
    A service that stops in a program that goes on leaves the program's signals as
    they were.
    """
    from twisted.internet import reactor

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    service = TCPDemoService(TCPDemoFactory(Discard), [], reactor=reactor)
    service.startService()
    await service.stopService()
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


async def test_failedDrain(
    factory: TCPDemoFactory, reactor: MemoryReactorClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The stop fires with the result of the factory's own drain.
    """
    service = serviceOf(factory, reactor)
    monkeypatch.setattr(factory, "drain", lambda deadline, spread: succeed("nothing to report"))
    monkeypatch.setattr(service, "_drained", lambda report: report)
    assert await service.stopService() == "nothing to report"


class RememberingLog:
    """
    A log that remembers what it was asked.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    def begin(self) -> None:
        """
        Remember it.
        """
        self.asked.append("begin")

    def check(self) -> None:
        """
        Remember it.
        """
        self.asked.append("check")

    def reopen(self, signalName: str) -> None:
        """
        Remember the signal.
        """
        self.asked.append(signalName)

    def end(self) -> None:
        """
        Remember it.
        """
        self.asked.append("end")


def test_processLog(factory: TCPDemoFactory, reactor: MemoryReactorClock) -> None:
    """
    The log of the process is bounded before the first client and until the last one has
    gone, and is looked at when the process has its last privileges.
    """
    processLog = RememberingLog()
    service = serviceOf(factory, reactor, log=processLog)
    service.privilegedStartService()
    assert processLog.asked == ["begin"]
    service.startService()
    assert processLog.asked == ["begin", "check"]
    join(factory)
    service.stopService()
    assert processLog.asked == ["begin", "check"]
    factory.connections[0].connectionLost(Failure(ConnectionDone()))
    assert processLog.asked == ["begin", "check", "end"]
    service.startService()
    assert processLog.asked[3:] == ["begin", "check"]
    service.stopService()


@pytest.mark.parametrize("given", [True, False])
def test_signalsOfTheLog(
    factory: TCPDemoFactory, reactor: MemoryReactorClock, log: list[str], given: bool
) -> None:
    """
    The signals that reopen a log reach it, if there is one; all others are told in a line.
    """
    processLog = RememberingLog()
    service = serviceOf(factory, reactor, log=processLog if given else None)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
        service._reopen(name)
    assert processLog.asked == (["SIGHUP", "SIGUSR1"] if given else [])
    told = ["SIGUSR2"] if given else ["SIGHUP", "SIGUSR1", "SIGUSR2"]
    assert log == [f"{name}: nothing is to be done for it" for name in told]


def test_string() -> None:
    """
    The string of an endpoint does as well; one that describes none ends the start in one
    line.
    """
    factory = TCPDemoFactory(Discard)
    wrong = TCPDemoService(factory, [("here", "nonsense:1")], reactor=MemoryReactorClock())
    with pytest.raises(StartError, match="cannot listen on here: 'nonsense:1' describes no"):
        wrong.startService()
