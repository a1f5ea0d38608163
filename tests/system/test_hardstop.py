"""
A server that is asked to stop ends, whatever is in the way.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path
from time import monotonic

import pytest
from twisted.internet.defer import Deferred

from tests.support.processes import Child, portOf, running, twistd

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX signals")

STUCK = '''
import ctypes, itertools, sys, threading, time
from collections import deque

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted_tcpdemo import TCPDemoProtocol


class Stuck(TCPDemoProtocol):
    """
    Says "ready" when a client has sent a byte, and is stuck then or in the drain.
    """

    def dataReceived(self, data):
        print("ready", flush=True)
        self.begin()

    def begin(self):
        pass


class Loop(Stuck):
    def begin(self):
        while True:
            pass


class Sleep(Stuck):
    def begin(self):
        time.sleep(1000)


class Lock(Stuck):
    def begin(self):
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()


class Thread(Stuck):
    def begin(self):
        threading.Thread(target=time.sleep, args=(1000,), name="mine").start()
        reactor.callLater(0, reactor.stop)  # a signal would kill twistd itself at the end


class Pool(Stuck):
    def begin(self):
        reactor.callInThread(time.sleep, 1000)


class Trigger(Stuck):
    def begin(self):
        reactor.addSystemEventTrigger("before", "shutdown", Deferred)


class Producer(Stuck):
    def begin(self):
        self.transport.registerProducer(self, True)

    def stopProducing(self):
        while True:
            pass

    def pauseProducing(self):
        pass

    resumeProducing = pauseProducing


class Hook(Stuck):
    def drainStarted(self):
        time.sleep(1000)


class Released(Stuck):
    def drainStarted(self):
        ctypes.CDLL(None).sleep(1000)


class Kept(Stuck):
    def drainStarted(self):
        deque(itertools.repeat(None), maxlen=0)


class Immortal(Stuck):
    def begin(self):
        self.transport.abortConnection = self.transport.loseConnection = lambda: None


class Switch(Stuck):
    def successor(self):
        new = TCPDemoProtocol()
        new.factory = self.factory
        return new

    def begin(self):
        transport, new = self.transport, self.successor()
        transport.protocol = new
        new.makeConnection(transport)
        transport.write(b"y")


class SwitchAway(Switch):
    def successor(self):
        return Protocol()


class Exit(Stuck):
    def drainStarted(self):
        while True:
            try:
                sys.exit()
            except SystemExit:
                pass


class Full(Stuck):
    def drainStarted(self):
        while True:
            print("x" * 10000)
'''


def command(tmp_path: Path, name: str, *options: str) -> tuple[list[str], str]:
    """
    The command line of a server whose protocol gets stuck, and its PYTHONPATH.
    """
    (tmp_path / "stuck.py").write_text(STUCK)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    where = ("--port", "0", "--interface", "127.0.0.1")
    return twistd(*where, "--protocol", f"stuck.{name}", *options), path


async def begun(child: Child) -> socket.socket:
    """
    A client of a server that is stuck, or will be when it drains.
    """
    peer = socket.create_connection(("127.0.0.1", await portOf(child)))
    peer.send(b"x")
    await child.whenPrinted("ready")
    return peer


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("Loop", r"MainThread in stuck\.py:\d+ \(begin\)"),
        ("Sleep", r"MainThread in stuck\.py:\d+ \(begin\)"),
        ("Lock", r"MainThread in stuck\.py:\d+ \(begin\)"),
        ("Thread", r"mine in threading\.py:\d+ \(run\)"),
        ("Pool", r"PoolThread\S* in "),
        ("Trigger", "MainThread in "),
        ("Producer", r"MainThread in stuck\.py:\d+ \(stopProducing\)"),
        ("Hook", r"MainThread in stuck\.py:\d+ \(drainStarted\)"),
        ("Exit", r"MainThread in stuck\.py:\d+ \(drainStarted\)"),
        ("Released", r"MainThread in stuck\.py:\d+ \(drainStarted\)"),
        ("Immortal", "MainThread in "),
    ],
)
async def test_stuck(name: str, place: str, tmp_path: Path) -> None:
    """
    A hook, a thread, a producer or a drain that never ends delays the end no longer
    than --hard-stop, and the last line names it.
    """
    line, path = command(tmp_path, name, "--drain", "0.1", "--hard-stop", "1")
    async with running(line, PYTHONPATH=path) as child:
        with await begun(child):
            before = monotonic()
            if name != "Thread":
                child.signal(signal.SIGTERM)
            assert await child.whenEnded() == 1
            assert 0.9 < monotonic() - before < 6
        # Twistd has ended its log before it waits for threads.
        said = re.search(r"tcpdemo: hard stop after 1 s: (.*); (running: .*)", child.err)
        assert said
        assert (" hard stop after 1 s: " in child.out) == (name != "Thread")
        assert re.search(place, said[2])
        if name not in ("Thread", "Pool", "Trigger", "Producer"):
            assert said[1].startswith("open: 1 (127.0.0.1:")


async def test_keptLock(tmp_path: Path) -> None:
    """
    C code that lets no Python run is ended too, and shown on standard error.
    """
    line, path = command(tmp_path, "Kept", "--hard-stop", "1")
    async with running(line, PYTHONPATH=path) as child:
        with await begun(child):
            child.signal(signal.SIGTERM)
            assert await child.whenEnded() == 1
        assert "in drainStarted" in child.err


async def test_fullPipe(tmp_path: Path) -> None:
    """
    A log that nobody reads does not delay the end.
    """
    line, path = command(tmp_path, "Full", "--hard-stop", "1")
    async with running(line, PYTHONPATH=path) as child:
        with await begun(child):
            gone: Deferred[None] = Deferred()
            child.processExited = lambda _: gone.callback(None)  # type: ignore[method-assign,misc]
            child.transport.pipes[1].stopReading()
            child.signal(signal.SIGTERM)
            await gone
            child.transport.pipes[1].startReading()
            assert await child.whenEnded() == 1


async def test_default(tmp_path: Path) -> None:
    """
    Without the option, the end comes five seconds after the deadline of the drain.
    """
    line, path = command(tmp_path, "Hook", "--drain", "0")
    async with running(line, PYTHONPATH=path) as child:
        with await begun(child):
            child.signal(signal.SIGTERM)
            assert await child.whenEnded() == 1
        await child.whenPrinted("hard stop after 5 s: open: 1 ")


async def test_inOrder(tmp_path: Path) -> None:
    """
    A server that is not stuck ends before the hard stop, by its signal.
    """
    line, path = command(tmp_path, "Stuck", "--drain", "0.1", "--hard-stop", "60")
    async with running(line, PYTHONPATH=path) as child:
        with await begun(child):
            child.signal(signal.SIGTERM)
            assert await child.whenEnded() == -signal.SIGTERM
        assert "hard stop" not in child.out


@pytest.mark.parametrize("transport", ["fast", "twisted"])
@pytest.mark.parametrize("name", ["Switch", "SwitchAway"])
async def test_upgraded(name: str, transport: str, tmp_path: Path) -> None:
    """
    A server whose connections have been given to other protocols has the slots of those
    that have left, and ends by its signal when its drain is over.
    """
    line, path = command(
        tmp_path,
        *(name, "--transport", transport, "--max-connections", "2"),
        *("--drain", "0.2", "--hard-stop", "60"),
    )
    async with running(line, PYTHONPATH=path) as child:
        with await begun(child) as first:
            where = first.getpeername()
            for count in range(1, 4):
                with socket.create_connection(where) as peer:
                    peer.send(b"x")
                    await child.whenPrinted(f"(?s)(ready.*){{{count + 1}}}")
                await child.whenPrinted(f"(?s)(close \\d+: .*){{{count}}}")
            before = monotonic()
            child.signal(signal.SIGTERM)
            assert await child.whenEnded() == -signal.SIGTERM
            assert monotonic() - before < 10
        assert "hard stop" not in child.out
        assert "aborted=1" in child.out or "1 aborted" in child.out
