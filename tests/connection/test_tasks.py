"""
Coroutines as tasks of asyncio, on its reactor.
"""

from __future__ import annotations

import sys

from tests.support.processes import running

ASYNCIO = """
import asyncio, sys
from twisted.internet import asyncioreactor
asyncioreactor.install()
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted_tcpdemo import ClientEndpoint, TCPDemoFactory
from twisted_tcpdemo.errors import EndOfStreamError

seen = []

async def copy(source, target):
    async for chunk in source:
        await target.write(chunk)
    await target.end()

async def handle(stream):
    kind = await stream.readLine()
    if kind == b"mixed":
        await asyncio.sleep(0)
        assert asyncio.current_task() is not None
        await deferLater(reactor, 0, lambda: None)
        try:
            await asyncio.wait_for(stream.readLine(), 0.01)
        except asyncio.TimeoutError:
            await stream.write("late\\n")
        lines = await asyncio.gather(asyncio.sleep(0, 1), stream.readLine())
        await stream.write(lines[1] + b"\\n")
        await Deferred.fromCoroutine(copy(stream, stream))
    elif kind == b"tasks":
        await asyncio.gather(copy(stream, stream), asyncio.sleep(0))
    elif kind == b"exits":
        sys.exit(3)
    elif kind == b"fails":
        failing = Deferred()
        reactor.callLater(0, failing.errback, ZeroDivisionError())
        try:
            await failing
        except ZeroDivisionError:
            await stream.write("caught\\n")
    else:
        try:
            await stream.readLine()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

async def main(reactor):
    factory = TCPDemoFactory.forHandler(handle)
    port = await factory.listen("fasttcp:0:interface=127.0.0.1")
    endpoint = ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    async with await endpoint.open() as stream:
        await stream.write("mixed\\n")
        print(await stream.readLine())
        await stream.write("a\\nb\\n" + "c" * 1000000)
        await stream.end()
        print(await stream.readLine(), await stream.readLine())
        print(sum([len(chunk) async for chunk in stream]))
    async with await endpoint.open() as stream:
        await stream.write("tasks\\nx")
        await stream.end()
        print(await stream.readExactly(1), await stream.read())
    for kind in ("fails", "exits"):
        async with await endpoint.open() as stream:
            await stream.write(kind + "\\n")
            try:
                print(await stream.readLine())
            except EndOfStreamError as error:
                print(error.reason.value)
    stream = await endpoint.open()
    await stream.write("waits\\n")
    await deferLater(reactor, 0.01, lambda: None)
    report = await factory.drain(0)
    await deferLater(reactor, 0.01, lambda: None)
    print(report.aborted, seen, factory.conservation())
    print(*[reason.value for reason in factory.report().closedBy])

react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


async def test_asyncio() -> None:
    """
    On the asyncio reactor a handler is a task: it may await Deferreds and all that asyncio
    has, tasks may read its stream, what it raises goes no further, and a drain cancels it.
    """
    async with running([sys.executable, "-X", "dev", "-c", ASYNCIO]) as child:
        status = await child.whenEnded()
    assert (status, child.out.splitlines()) == (
        0,
        [
            *("b'late'", "b'a' b'b'", "1000000", "b'x' b''", "b'caught'", "reset"),
            *("1 ['cancelled'] []", "peer closed local close error drain deadline"),
        ],
    ), child.err
    assert child.err.count("Traceback") == 1 and "never" not in child.err


RACES = """
import asyncio
from contextvars import ContextVar
from twisted.internet import asyncioreactor
asyncioreactor.install()
from twisted.internet import reactor
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import deferLater, react
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.internet.error import ConnectionLost
from twisted_tcpdemo import Stream, TCPDemoFactory
from twisted_tcpdemo.errors import EndOfStreamError

number = ContextVar("number", default=0)
tasks = []

def rest():
    return deferLater(reactor, 0.01, lambda: None)

async def line(stream):
    try:
        return await stream.readLine()
    except asyncio.CancelledError:
        print("cancelled")

async def each(stream, count):
    lines = stream.lines()
    return [await anext(lines) for _ in range(count)]

async def work(stream, data, task):
    stream.dataReceived(data)
    task.cancel()

def byTask(stream, data, task):
    return Deferred.fromFuture(asyncio.ensure_future(work(stream, data, task)))

async def handle(stream):
    tasks.append(asyncio.current_task())
    number.set(1)
    print(await line(stream))
    print(await line(stream), number.get())
    try:
        await stream.readLine().addTimeout(0.001, reactor)
    except TimeoutError:
        print("late")
    await asyncio.sleep(1000)

async def main(reactor):
    await rest()
    stream = TCPDemoFactory.forHandler(handle).buildProtocol(None)
    stream.makeConnection(StringTransport())
    await rest()
    await byTask(stream, b"one\\n", tasks[0])
    await rest()
    await rest()
    print("in a task of its own")
    for reading in (line(stream), each(stream, 1)):
        task = asyncio.ensure_future(reading)
        await rest()
        await byTask(stream, b"two\\n", task)
        await rest()
        print(await stream.readLine())
    task = asyncio.ensure_future(line(stream))
    await rest()
    stream.dataReceived(b"at once\\n")
    print(task.done(), task.cancel(), task.result())
    both = stream.readLine()
    task = asyncio.gather(line(stream), asyncio.wait_for(both, 10), return_exceptions=True)
    await rest()
    stream.dataReceived(b"three\\nfour\\n")
    await rest()
    print(*[getattr(result, "args", result) for result in task.result()])
    print(await Deferred.fromCoroutine(each(stream, 1)))
    print("the end")
    task = asyncio.ensure_future(exactly(stream))
    await rest()
    stream.dataReceived(b"12")
    await rest()
    stream.dataReceived(b"3")
    stream.connectionLost(Failure(ConnectionLost()))
    await rest()
    print(task.result(), number.get())

async def exactly(stream):
    got = [await stream.readExactly(3)]
    try:
        await stream.read()
    except EndOfStreamError as error:
        got.append(error.reason.value)
    return got

react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


async def test_races() -> None:
    """
    A task has its line at once, if no other is at work.  Otherwise it may be cancelled
    before its turn: then it takes nothing, and the next read has the line.  A read may end
    by its own timeout, its bytes may come before the connection breaks, and it may be
    another's by mistake.
    """
    async with running([sys.executable, "-X", "dev", "-c", RACES]) as child:
        status = await child.whenEnded()
    assert (status, child.out.splitlines()) == (
        0,
        [
            *("cancelled", "None", "b'one' 1", "late", "in a task of its own"),
            *("cancelled", "b'two'", "b'two'", "True False b'at once'"),
            "('another read of this stream is waiting; one can at a time',) b'three'",
            *("[b'four']", "the end", "[b'123', 'reset'] 0"),
        ],
    ), child.err
    assert "Traceback" not in child.err and "never" not in child.err
