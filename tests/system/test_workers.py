"""
Servers with workers: real processes, real clients.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import LoopingCall
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.support.certificates import pemFile
from tests.support.contexts import PythonContexts
from tests.support.crowds import Greeter, endpointFor, wave
from tests.support.hygiene import LoggedErrors
from tests.support.peers import connectTo
from tests.support.places import PROJECT
from tests.support.processes import Child, portOf, running, script, twistd
from tests.support.staff import Chatter, Foreign, Second, Staffed, Telling, obey, staffed
from tests.support.status import ask
from tests.support.storm import said, storm
from tests.support.waiting import until
from twisted_tcpdemo import (
    Budgets,
    CloseReason,
    Proxy,
    ServerEndpoint,
    TCPDemoFactory,
    Watermarks,
    hosted,
)
from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.service.service import TCPDemoService
from twisted_tcpdemo.service.startup import StartError
from twisted_tcpdemo.shapes import Overflow

pytestmark = pytest.mark.deadline(30)


def theReactor() -> Any:
    """
    The installed reactor.
    """
    from twisted.internet import reactor

    return reactor


@contextmanager
def logEvents() -> Generator[list[LogEvent]]:
    """
    The events of the log, as long as the block lasts.
    """
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(events.append)


async def test_served() -> None:
    """
    A client is served by a process of its own, with the number and the addresses that the
    parent knows, and the parent counts its bytes.
    """
    async with staffed() as server:
        peer = await server.connect()
        pid = int(await server.ask(peer, b"pid"))
        assert pid != os.getpid() and pid in {worker.pid for worker in server.workers}
        (record,) = server.factory.records
        port = peer.transport.getHost().port
        assert await server.ask(peer, b"who") == f"{record.connectionID} 127.0.0.1:{port}\n"
        peer.transport.loseConnection()
        await server.factory.whenEmpty()
        (closed,) = server.events.of("connectionClosed")
        assert closed.closeReason is CloseReason.PEER_CLOSED
        assert (closed.bytesRead, closed.bytesWritten) == (6, len(peer.received))
        assert server.factory.bytesRead == 6
        assert server.factory.conservation() == []


async def test_roundTripTime() -> None:
    """
    The parent knows the round trip times of connections in workers, and adds the bytes of each
    worker up as they are told.
    """
    async with staffed() as server:
        peers = [await server.connect() for _ in range(3)]
        for peer in peers:
            await server.ask(peer, b"hello\n")
        records = server.factory.records
        await until(lambda: all(record.roundTripTime for record in records))
        assert all(0 < (record.roundTripTime or 0) < 1 for record in records)
        await until(lambda: sum(worker.bytesRead for worker in server.workers) == 18)
        peers[0].transport.loseConnection()
        await until(lambda: server.factory.connectionCount == 2)
        assert [
            sum(getattr(worker, name) for worker in server.workers)
            for name in ("bytesRead", "bytesWritten")
        ] == [18, 18]


async def test_even() -> None:
    """
    Each client goes to the worker with the fewest.
    """
    async with staffed() as server:
        await server.whenServing()
        for _ in range(20):
            await server.connect()
        await until(lambda: server.factory.connectionCount == 20)
        assert [worker.connectionCount for worker in server.workers] == [10, 10]


@pytest.mark.storm
@pytest.mark.parametrize(
    ("transport", "overflow"),
    [
        *(("fast", overflow) for overflow in ("refuse", "reset", "wait")),
        ("tls", "refuse"),
        ("unix", "wait"),
    ],
)
@pytest.mark.deadline(120)
async def test_waves(transport: str, overflow: Overflow, tmp_path: Path) -> None:
    """
    In waves of twice the limit, while a worker is killed every 200 ms, the limit is never
    exceeded, every client is served, refused, or struck with its worker, and the accounts
    add up after each wave.
    """
    limit = 25
    factory = TCPDemoFactory(Greeter, maxConnections=limit, overflow=overflow)
    where = endpointFor(transport, tmp_path)
    async with staffed(factory, where["endpoint"]) as server:
        await server.whenServing()
        kills: list[int] = []

        def kill() -> None:
            kills.append(len(kills) % 2 + 1)
            server.kill(kills[-1])

        killing = LoopingCall(kill)
        killing.start(0.2, now=False)
        connect = partial(server.connect, where.get("client", ""), where.get("tls", False))
        waves = 0
        while len(kills) < 10:
            waves += 1
            await wave(server.peers, connect, 2 * limit, overflow)
            await factory.whenEmpty()
            assert factory.conservation() == []
        killing.stop()
        assert server.highest.count <= limit
        assert factory.acceptedCount + factory.refusedCount == waves * 2 * limit
        assert factory.closedCount == factory.acceptedCount


# What is served.


@pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")  # Twisted's own
@pytest.mark.parametrize("scheme", ["ssl", "tls"])
async def test_tls(scheme: str, tmp_path: Path) -> None:
    """
    TLS of an endpoint string is the worker's; the parent hands over sockets that have not
    begun it.
    """
    where = f"ssl:0:interface=127.0.0.1:privateKey={pemFile()}"
    if scheme == "tls":  # a folder of certificates, by the names of servers
        (tmp_path / "localhost.pem").write_bytes(pemFile().read_bytes())
        where = f"tls:{tmp_path}:0:interface=127.0.0.1"
    async with staffed(endpoint=where) as server:
        peer = await server.connect(tls=True)
        assert int(await server.ask(peer, b"pid")) in {worker.pid for worker in server.workers}
        await until(lambda: server.factory.bytesRead == 3)


async def test_unix(tmp_path: Path) -> None:
    """
    A UNIX socket's clients are served by workers, too.
    """
    path = tmp_path / "socket"
    async with staffed(endpoint=ServerEndpoint(theReactor(), path=path)) as server:
        peer = await server.connect(f"unix:{path}")
        assert await server.ask(peer, b"hello\n") == "hello\n"
        (record,) = server.factory.records
        assert record.host.name == os.fsencode(path)


async def test_proxy() -> None:
    """
    The parent reads the PROXY header; the worker knows its addresses and values, and reads
    what follows it.
    """
    endpoint = ServerEndpoint(theReactor(), 0, "127.0.0.1", proxy=Proxy(trusted=["127.0.0.1"]))
    async with staffed(endpoint=endpoint) as server:
        peer = await server.connect()
        line = b"PROXY TCP4 192.0.2.7 192.0.2.9 7777 80\r\n"
        assert (await server.ask(peer, line + b"who")).endswith(" 192.0.2.7:7777\n")
        (record,) = server.factory.records
        assert (record.peer.host, record.host.host) == ("192.0.2.7", "192.0.2.9")


async def test_portOpens() -> None:
    """
    A worker knows a port once that opens just when the worker is started.
    """
    async with staffed(workers=1) as server:
        workers: Any = server.factory.handOver
        workers.opened(await server.factory.listen("fasttcp:0:interface=127.0.0.1"), None)
        assert await server.ask(await server.connect(), b"listeners") == "2\n"


async def test_oddPath(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A worker has the path of its parent, but for what is no text, which Python ignores.
    """
    monkeypatch.setattr("sys.path", [PROJECT, *sys.path])
    async with staffed(workers=1) as server:
        assert await server.ask(await server.connect(), b"hello\n") == "hello\n"


async def test_foreign() -> None:
    """
    A protocol that is none of ours is hosted in the worker.
    """
    async with staffed(TCPDemoFactory(hosted(Foreign))) as server:
        peer = await server.connect()
        assert await server.ask(peer, b"hello\n") == "hello\n"


async def test_budgets() -> None:
    """
    The budgets of a connection are kept by its worker, and the parent hears which one has
    ended it.
    """
    factory = TCPDemoFactory(Telling, budgets=Budgets(firstByte=0.2))
    async with staffed(factory) as server:
        peer = await server.connect()
        await peer.whenEnded()
        await factory.whenEmpty()
        assert factory.report().closedBy == {CloseReason.FIRST_BYTE: 1}


class Seconds(float):
    """
    A number of a kind of its own, as numpy has.
    """


async def test_kindsOfNumbers() -> None:
    """
    A setting may be a number of any kind.
    """
    factory = TCPDemoFactory(Telling, budgets=Budgets(idle=Seconds(30)))
    async with staffed(factory, workers=1) as server:
        assert await server.ask(await server.connect(), b"hello\n") == "hello\n"


async def test_raise(loggedErrors: LoggedErrors) -> None:
    """
    A protocol that raises ends its connection alone, with its traceback in the parent's log
    and the worker's number as a field.
    """
    with logEvents() as events:
        async with staffed() as server:
            peer, other = await server.connect(), await server.connect()
            peer.transport.write(b"raise")
            await peer.whenEnded()
            assert await server.ask(other, b"hello\n") == "hello\n"
            found = await until(lambda: [e for e in events if "ZeroDivision" in formatEvent(e)])
    assert found[0]["worker"] in {1, 2}
    assert server.factory.report().closedBy[CloseReason.ERROR] == 1
    loggedErrors.take()


async def test_exitAtOnce(loggedErrors: LoggedErrors) -> None:
    """
    A protocol that leaves the process when it is built costs its own client alone.
    """
    async with staffed(TCPDemoFactory(Second), workers=1) as server:
        first = await server.connect()
        assert await server.ask(first, b"hello\n") == "hello\n"
        second = await server.connect()
        await second.whenEnded()
        assert await server.ask(first, b"still\n") == "still\n"
        assert server.factory.report().closedBy == {CloseReason.ERROR: 1}
        assert server.factory.conservation() == []
    loggedErrors.take(SystemExit)


async def test_streams(loggedErrors: LoggedErrors) -> None:
    """
    A worker runs a coroutine for each stream: one that raises ends its connection alone,
    with one traceback in the parent's log, and a drain tells the others and cancels at its
    deadline those that stay.
    """
    with logEvents() as events:
        async with staffed(TCPDemoFactory.forHandler(obey)) as server:
            peers = [await server.connect() for _ in range(4)]
            for peer in peers:
                pid = int(await server.ask(peer, b"pid\n"))
                assert pid in {worker.pid for worker in server.workers}
            failing, leaving, open_, staying = peers
            failing.transport.write(b"raise\n")
            await failing.whenEnded()
            leaving.transport.write(b"quit\n")
            await leaving.whenEnded()
            leaving.transport.loseConnection()
            staying.transport.write(b"stay\n")
            await until(lambda: server.factory.closedCount == 2)
            drained = server.factory.drain(1.0)
            for peer in (open_, staying):
                await peer.when(lambda peer=peer: b"draining" in peer.received)  # type: ignore[misc]
            open_.transport.loseConnection()
            report = await drained
            assert (report.finished, report.aborted) == (1, 1)
            await staying.whenLost()
            assert server.factory.conservation() == []
            closed = server.factory.report().closedBy
            assert (closed[CloseReason.ERROR], closed[CloseReason.DRAIN]) == (1, 1)
            await until(lambda: [e for e in events if "ZeroDivision" in formatEvent(e)])
    assert len([e for e in events if "ZeroDivision" in formatEvent(e)]) == 1
    assert not [e for e in events if "Cancelled" in formatEvent(e)]
    loggedErrors.take()


async def test_threads() -> None:
    """
    Lines that threads of a worker log come in their order, and harm nothing.
    """
    with logEvents() as events:
        async with staffed(workers=1) as server:
            peer = await server.connect()
            for _ in range(12):
                assert await server.ask(peer, b"threads") == "said\n"
            assert await server.ask(peer, b"hello\n") == "hello\n"
            await until(lambda: [e for e in events if e.get("number") == 0])
    lines = [event["line"] for event in events if event.get("number") == 0]
    assert sum(after <= before for before, after in pairwise(lines)) < 12


# What is steered.


async def test_suspend() -> None:
    """
    A suspended server accepts nobody, and resumed it does.
    """
    async with staffed() as server:
        await server.whenServing()
        server.factory.suspend()
        peer = await server.connect()
        peer.transport.write(b"hello\n")
        assert server.factory.connectionCount == 0
        server.factory.resume()
        await peer.whenReceived(6)


async def test_endOne() -> None:
    """
    The parent closes and aborts one connection by its record.
    """
    async with staffed() as server:
        first, second = await server.connect(), await server.connect()
        await server.ask(first, b"hello\n")
        await server.ask(second, b"hello\n")
        one, other = server.factory.records
        one.close(CloseReason.LOCAL_CLOSE)
        other.abort(CloseReason.ABORTED)
        await first.whenEnded()
        await second.whenLost()
        first.transport.loseConnection()
        await server.factory.whenEmpty()
        assert server.factory.report().closedBy == {
            CloseReason.LOCAL_CLOSE: 1,
            CloseReason.ABORTED: 1,
        }


async def test_limitChanges() -> None:
    """
    The limit can be changed while it runs, and watermarks are told.
    """
    factory = TCPDemoFactory(Telling, maxConnections=1, watermarks=Watermarks([1.0]))
    async with staffed(factory) as server:
        first = await server.connect()
        await server.ask(first, b"hello\n")
        second = await server.connect()
        await second.whenEnded()
        factory.maxConnections = 2
        third = await server.connect()
        await server.ask(third, b"hello\n")
        assert factory.refusedCount == 1
        assert next(c.above for c in server.events.of("watermarkCrossed"))


async def test_drain() -> None:
    """
    A drain tells each protocol, closes an idle connection in order, and aborts a busy one at
    the deadline; the report counts both.
    """
    async with staffed(TCPDemoFactory(Chatter)) as server:
        idle, busy = await server.connect(), await server.connect()
        await server.ask(idle, b"quiet\n")
        await server.ask(busy, b"hello\n")
        drained = server.factory.drain(2.5)
        await idle.when(lambda: b"draining" in idle.received)
        await busy.when(lambda: b"draining" in busy.received)
        await idle.whenEnded()
        idle.transport.loseConnection()
        report = await drained
        assert (report.finished, report.aborted) == (1, 1)
        assert server.factory.report().closedBy[CloseReason.DRAIN] == 1


async def test_restart() -> None:
    """
    A restart replaces every worker; a connection that is idle goes on until the deadline,
    and is then closed in order.
    """
    async with staffed(drain=1.5) as server:
        before = {worker.pid for worker in await server.whenServing()}
        idle = await server.connect()
        old = int(await server.ask(idle, b"pid"))
        assert server.factory.handOver is not None
        server.factory.handOver.restart()
        await idle.when(lambda: b"draining" in idle.received)
        fresh = await server.connect()
        new = int(await server.ask(fresh, b"pid"))
        assert old in before and new not in before
        assert int(await server.ask(idle, b"pid")) == old
        await idle.whenEnded()
        idle.transport.loseConnection()
        assert not before & {worker.pid for worker in await server.whenServing()}
        assert server.factory.report().closedBy == {CloseReason.LOCAL_CLOSE: 1}


# What goes wrong.


async def test_lost() -> None:
    """
    The connections of a worker that dies end with it, by a reason of their own, and it is
    replaced.
    """
    async with staffed() as server:
        before = {worker.pid for worker in await server.whenServing()}
        peers = [await server.connect() for _ in range(4)]
        for peer in peers:
            await server.ask(peer, b"hello\n")
        server.kill(1)
        await until(lambda: server.factory.connectionCount == 2)
        assert server.factory.report().closedBy == {CloseReason.WORKER_LOST: 2}
        assert len({worker.pid for worker in await server.whenServing()} & before) == 1
        assert server.factory.conservation() == []
        assert sum(peer.reason is None and not peer.ended for peer in peers) == 2


async def test_batch(monkeypatch: pytest.MonkeyPatch, loggedErrors: LoggedErrors) -> None:
    """
    A client that cannot be taken does not hold up those before it in the same batch.
    """
    async with staffed() as server:
        await server.whenServing()
        enter, entered = server.factory.enter, []

        def failing(connection: Connection) -> object:
            entered.append(connection)
            return enter(connection) if len(entered) == 1 else 1 / 0

        monkeypatch.setattr(server.factory, "enter", failing)
        port = server.factory.addresses()[0].port
        assert port is not None
        with connectTo(port) as first, connectTo(port):
            first.sendall(b"hello\n")
            await until(lambda: server.factory.bytesRead == 6)
        assert len(entered) == 2
        loggedErrors.take(ZeroDivisionError)


async def test_hang() -> None:
    """
    A worker whose reactor hangs gets no more clients while another one answers; it is named,
    killed and replaced when its time is over.
    """
    with logEvents() as events:
        async with staffed(workerTimeout=2.5) as server:
            await server.whenServing()
            peer = await server.connect()
            pid = int(await server.ask(peer, b"pid"))
            peer.transport.write(b"hang")
            await until(lambda: any(worker.lateness > 1 for worker in server.workers))
            for _ in range(4):
                other = await server.connect()
                assert int(await server.ask(other, b"pid")) != pid
            await peer.whenEnded()
            await server.whenServing()
    assert any(f"process {pid}) does not answer" in formatEvent(event) for event in events)


async def test_hangAtStop() -> None:
    """
    A worker that hangs does not hold up a server that stops.
    """
    async with staffed(drain=0.5) as server:
        await server.whenServing()
        peer = await server.connect()
        await server.ask(peer, b"hello\n")
        peer.transport.write(b"hang")
        await server.service.stopService()
        assert server.factory.report().closedBy == {CloseReason.WORKER_LOST: 1}


def fill(server: Staffed) -> None:
    """
    Tell workers that have stopped more than the kernel takes.
    """
    assert server.factory.handOver is not None
    for _ in range(2000):
        server.factory.handOver.update()


async def test_neverGot() -> None:
    """
    A client that a worker has not got when it ends is served by the next one; but if it was
    to be aborted meanwhile, it is, and no worker is killed for it.
    """
    async with staffed(workers=1) as server:
        await server.whenServing(1)
        server.kill(1, signal.SIGSTOP)
        fill(server)
        first, second = await server.connect(), await server.connect()
        await until(lambda: server.factory.connectionCount == 2)
        server.factory.records[0].abort(CloseReason.ABORTED)
        await first.whenEnded()
        pid = await server.ask(second, b"pid")
        assert server.factory.report().closedBy == {CloseReason.ABORTED: 1}
        await until(lambda: server.workers[0].age > 1)
        assert await server.ask(second, b"pid") == pid
        assert server.factory.conservation() == []


async def test_leak() -> None:
    """
    A worker without descriptors gets no more clients, and serves those that it has.
    """
    async with staffed() as server:
        await server.whenServing()
        peer = await server.connect()
        pid = int(await server.ask(peer, b"pid"))
        assert await server.ask(peer, b"leak") == "leaked\n"
        answers = []
        for _ in range(6):
            other = await server.connect()
            answers.append(await server.ask(other, b"pid"))
        served = [answer for answer in answers if answer]
        assert str(pid) not in {answer.strip() for answer in served}
        assert await server.ask(peer, b"hello\n") == "hello\n"
        await until(lambda: server.factory.connectionCount == len(served) + 1)
        assert served and server.factory.closedCount == 6 - len(served)
        assert server.factory.conservation() == []


class Breaking:
    """
    A program that breaks when the test says so.

    @ivar protocol: what it builds.
    @ivar stops: the signals by which the process was told to stop.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._module = folder / "broken_program.py"
        text = "from tests.support.crowds import Greeter\nclass Fine(Greeter): pass\n"
        self._module.write_text(text)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "broken_program", raising=False)
        self.protocol: Any = importlib.import_module("broken_program").Fine
        self.stops: list[int] = []
        monkeypatch.setattr(signal, "raise_signal", self.stops.append)

    def break_(self) -> None:
        """
        Let no worker import it from now on.
        """
        self._module.write_text("1 / 0\n")
        importlib.invalidate_caches()


@pytest.fixture
def breaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Breaking:
    """
    A program that breaks.
    """
    return Breaking(tmp_path, monkeypatch)


async def test_nobodyLeft(breaking: Breaking) -> None:
    """
    A client that no worker has got ends when none is left, and does not hold up a server
    whose drain has no deadline.
    """
    async with staffed(TCPDemoFactory(breaking.protocol), workers=1, drain=None) as server:
        await server.whenServing(1)
        server.kill(1, signal.SIGSTOP)
        fill(server)
        peer = await server.connect()
        await until(lambda: server.factory.connectionCount == 1)
        breaking.break_()
        server.kill(1)
        await until(lambda: breaking.stops)
        await peer.whenEnded()
        assert server.factory.report().closedBy == {CloseReason.WORKER_LOST: 1}
        assert server.factory.conservation() == []


async def test_neverStarts(breaking: Breaking) -> None:
    """
    Workers that fail to start, again and again, end in one line each that says why; when
    none is left, the process is told to stop.
    """
    breaking.break_()
    stops = breaking.stops
    with logEvents() as events:
        async with staffed(TCPDemoFactory(breaking.protocol)):
            await until(lambda: stops)
            lines = [formatEvent(event) for event in events]
    given = [line for line in lines if "is not started again" in line]
    assert len(given) == 2 and stops == [signal.SIGTERM]
    assert all("broken_program:Fine cannot be imported: ZeroDivisionError" in x for x in given)


async def test_exits() -> None:
    """
    A worker that ends by itself is named with its status, and replaced.
    """
    with logEvents() as events:
        async with staffed() as server:
            await server.whenServing()
            peer = await server.connect()
            pid = int(await server.ask(peer, b"pid"))
            await server.ask(peer, b"exit")
            await until(lambda: max(worker.startCount for worker in server.workers) == 2)
            await server.whenServing()
    told = f"(process {pid}): it has ended with status 3; 1 connections are lost"
    assert any(told in formatEvent(event) for event in events)


# The whole program.

LOCAL = ("--port", "0", "--interface", "127.0.0.1")


async def workersOf(child: Child, count: int = 2) -> list[int]:
    """
    The process numbers of the workers, as the log tells them.
    """
    await until(lambda: len(re.findall(r"worker \d+ is process \d+", child.out)) >= count)
    return [int(pid) for pid in re.findall(r"worker \d+ is process (\d+)", child.out)]


def isAlive(pid: int) -> bool:
    """
    Whether a process exists, and is no zombie.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_story() -> None:
    """
    The log of twistd tells the story of a client in order, with the worker beside the lines
    that it has told; at SIGTERM everything ends.
    """
    async with running(twistd(*LOCAL, "--workers", "2", "--max-connections", "5")) as child:
        port = await portOf(child)
        with connectTo(port) as client:
            greeting = client.recv(1000)
            assert f'"port": {port}'.encode() in greeting
            client.sendall(b"hello")
            await child.whenPrinted(r"data 1: hello")
        await child.whenPrinted(r"close 1: ")
        story = [
            rf"listening on 127\.0\.0\.1:{port}",
            r"#info\] connection 1: 127\.0\.0\.1:\d+ .*; 1 connected, limit 5",
            r"\[worker \d, tcpdemo#info\] sent 1: client, the server",
            r"\[worker \d, tcpdemo#info\] data 1: hello \(5 bytes read\)",
            r"\[worker \d, tcpdemo#info\] end 1: the client has sent FIN",
            rf"#info\] close 1: peer closed after .* 5 bytes read, {len(greeting)} written",
        ]
        places = [(await child.whenPrinted(line)).start() for line in story]
        assert places == sorted(places)
        pids = await workersOf(child)
        child.signal(signal.SIGTERM)
        assert await child.whenEnded() == -signal.SIGTERM
        assert not any(map(isAlive, pids))


async def test_raisingForAll() -> None:
    """
    A program that raises for each client has a traceback in the log of the server, which
    keeps its bound and shows no control character.
    """
    options = ("--workers", "1", "--log-rate", "5", "--protocol", "tests.support.staff.Raising")
    async with running(twistd(*LOCAL, *options), PYTHONPATH=str(PROJECT)) as child:
        port = await portOf(child)
        for _ in range(50):
            with suppress(ConnectionError), connectTo(port) as client:
                client.recv(1)
        await child.whenPrinted(r"ValueError at staff.py:\d+.*, not shown")
        assert child.out.count("Traceback") == 1
        assert r"builtins.ValueError: \x1b[31m red" in child.out and "\x1b" not in child.out


async def test_handler() -> None:
    """
    C{--protocol} with the name of a coroutine function serves with workers, and C{SIGTERM}
    tells the streams.
    """
    command = twistd(*LOCAL, "--workers", "2", "--protocol", "tests.support.staff.obey")
    async with running(command, PYTHONPATH=str(PROJECT)) as child:
        port = await portOf(child)
        pids = await workersOf(child)
        with connectTo(port) as client:
            client.sendall(b"pid\n")
            assert int(client.recv(100)) in pids
            child.signal(signal.SIGTERM)
            assert client.recv(100) == b"draining\n"
            client.sendall(b"quit\n")
            assert client.recv(100) == b""
        assert await child.whenEnded() == -signal.SIGTERM
        assert "Traceback" not in child.out + child.err


async def test_parentKilled() -> None:
    """
    When the parent is killed, its workers end within a second, one that hangs included.
    """
    command = twistd(*LOCAL, "--workers", "2", "--protocol", "tests.support.staff.Telling")
    async with running(command, PYTHONPATH=str(PROJECT)) as child:
        port = await portOf(child)
        pids = await workersOf(child)
        with connectTo(port) as client:
            client.sendall(b"hang")
            child.signal(signal.SIGKILL)
            killed = time.monotonic()
            await child.whenEnded()
            await until(lambda: not any(map(isAlive, pids)))
            assert time.monotonic() - killed < 1.0


@pytest.mark.storm
@pytest.mark.deadline(120)
async def test_talks(tmp_path: Path) -> None:
    """
    10,000 calls by 50 clients are all answered while the workers are replaced five times, by
    the control and by SIGUSR2.
    """
    path = tmp_path / "control"
    options = ("--workers", "2", "--protocol", "echo", "--control", f"unix:{path}")
    async with running(twistd(*LOCAL, *options)) as child:
        port = await portOf(child)
        await workersOf(child)
        with storm("talks", port, 10_000) as crowd:
            for number in range(5):
                if number % 2:
                    child.signal(signal.SIGUSR2)
                else:
                    command = [*script("tcpdemo"), "control", f"unix:{path}", "restart"]
                    async with running(command) as steering:
                        assert await steering.whenEnded() == 0, steering.err
                await workersOf(child, 2 * number + 4)
            answered = await until(lambda: said(crowd))
        assert answered == b"10000 answered\n"
        closed = re.findall(r"close \d+: (\w+ \w+)", child.out)
        assert set(closed) <= {"peer closed", "local close"}


async def test_page(tmp_path: Path) -> None:
    """
    The JSON of the status page and the metrics show the whole under its usual names, and the
    workers beside each other.
    """
    path = tmp_path / "page"
    options = ("--workers", "2", "--protocol", "echo", "--status", f"unix:{path}")
    async with running(twistd(*LOCAL, *options)) as child:
        port = await portOf(child)
        pids = await workersOf(child)
        with connectTo(port) as client:
            client.sendall(b"hello")
            assert client.recv(10) == b"hello"

            while True:
                status = (await ask(0, client=f"unix:{path}")).data
                if status["bytesRead"] == 5:
                    break
            assert status["connectionCount"] == 1 and status["state"] == "accepting"
            assert {worker["pid"] for worker in status["workers"]} == set(pids)
            assert [worker["number"] for worker in status["workers"]] == [1, 2]
            assert sorted(worker["share"] for worker in status["workers"]) == [0.0, 1.0]
            assert 0 <= status["parentCPU"] < 10
            metrics = (await ask(0, "/metrics", client=f"unix:{path}")).body.decode()
    assert "tcpdemo_connections_open 1.0" in metrics
    opened = re.findall(r'tcpdemo_worker_connections{worker="(\d)"} (\d)', metrics)
    assert sorted(opened) in ([("1", "1"), ("2", "0")], [("1", "0"), ("2", "1")])
    assert 'tcpdemo_worker_cpu_seconds_total{worker="1"}' in metrics
    assert not any(str(pid) in metrics for pid in pids)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--workers", "many"), "--workers must be a whole number, 0 to 1024, not 'many'"),
        (("--workers", "2", "--transport", "twisted"), "--workers goes with --transport fast"),
        (("--worker-timeout", "3"), "--worker-timeout goes with --workers"),
        (("--workers", "2", "--listen", "stdio:"), "workers need an endpoint on the fast lane"),
    ],
)
async def test_badInput(options: tuple[str, ...], why: str) -> None:
    """
    Options that cannot go together end twistd with one line that says why.
    """
    async with running(twistd(*options)) as child:
        assert await child.whenEnded() == 1
        assert why in child.err and child.err.count("\n") == 1


async def test_auto() -> None:
    """
    C{auto} makes one worker for each processor that the process may use.
    """
    count = len(os.sched_getaffinity(0))
    async with running(twistd(*LOCAL, "--workers", "auto")) as child:
        assert len(await workersOf(child, count)) == count


async def test_noProcess(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If the system lets no worker start, the process is told to stop.
    """
    stops: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", stops.append)
    monkeypatch.setattr("sys.executable", "/no/such/python")
    async with staffed():
        await until(lambda: stops)
    assert stops == [signal.SIGTERM]


async def test_tlsObject() -> None:
    """
    A TLS context cannot be sent to workers; that is said in one line, before anybody
    connects.
    """
    endpoint = ServerEndpoint(theReactor(), 0, "127.0.0.1", tls=PythonContexts.server())
    service = TCPDemoService(TCPDemoFactory(Telling), [("here", endpoint)], workers=2)
    with pytest.raises(StartError, match=r"here: workers need an endpoint with TLS as a string"):
        service.privilegedStartService()


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (("--drain", "60", "--hard-stop", "1"), 1),
        (("--drain", "0.5", "--hard-stop", "60"), -signal.SIGTERM),
    ],
    ids=["hard stop", "drain"],
)
async def test_hangAndStop(options: tuple[str, ...], status: int) -> None:
    """
    A worker that hangs delays the end neither beyond the deadline of the drain nor beyond
    the hard stop, and ends with the server.
    """
    command = twistd(*LOCAL, "--workers", "2", "--protocol", "tests.support.staff.Telling")
    async with running([*command, *options], PYTHONPATH=str(PROJECT)) as child:
        port = await portOf(child)
        pids = await workersOf(child)
        with connectTo(port) as client:
            client.sendall(b"pid")
            assert int(client.recv(100)) in pids
            client.sendall(b"hang")
            before = time.monotonic()
            child.signal(signal.SIGTERM)
            assert await child.whenEnded() == status
            ended = time.monotonic()
            assert ended - before < 10
            await until(lambda: not any(map(isAlive, pids)))
            assert time.monotonic() - ended < 1.0
