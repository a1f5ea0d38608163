"""
UNIX sockets on the fast lane: the port, both transports, and descriptors.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from errno import EMFILE
from pathlib import Path
from ssl import SSLError
from stat import S_IMODE
from typing import Any

import pytest
from twisted.internet.error import (
    BadFileError,
    CannotListenError,
    ConnectBindError,
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    FileDescriptorOverrun,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IFileDescriptorReceiver, IUNIXTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.unix import Client, Port, Server
from twisted.python.lockfile import isLocked
from twisted.python.reflect import namedAny
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.support.clients import Failing, installedReactor
from tests.support.contexts import PythonContexts, TwistedContexts, everyContext
from tests.support.descriptors import noFreeDescriptor
from tests.support.fast import (
    Pusher,
    Remembering,
    accepted,
    closed,
    drainPeer,
    fastServer,
    openFiles,
)
from tests.support.peers import Peer
from tests.support.waiting import failureOf, turn, until
from twisted_tcpdemo import fastReactor
from twisted_tcpdemo.fast import unix
from twisted_tcpdemo.fast.poller import pollerOf
from twisted_tcpdemo.fast.unix import UNIXClientTransport, UNIXPort, UNIXServerTransport


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    The path of the socket.
    """
    return tmp_path / "s"


@pytest.fixture
def resources() -> Any:
    """
    Things to be closed after the test.
    """
    with ExitStack() as stack:
        yield stack


def view() -> Any:
    """
    The view of the reactor.
    """
    return fastReactor(installedReactor())


def quiet(protocol: Any = Peer) -> Any:
    """
    A factory of some protocols.
    """
    factory: Any = Factory.forProtocol(protocol)
    factory.noisy = False
    return factory


def raw(path: Path) -> socket.socket:
    """
    A plain socket, connected to a path.
    """
    connected = socket.socket(socket.AF_UNIX)
    connected.connect(str(path))
    connected.setblocking(False)
    return connected


@implementer(IFileDescriptorReceiver)
class Receiving(Remembering):
    """
    Remembers descriptors, and bytes one by one, in their order.
    """

    def connectionMade(self) -> None:
        """
        Begin with nothing.
        """
        self.got: list[Any] = []
        super().connectionMade()

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """
        Remember the file, and close it.
        """
        self.got.append(os.fstat(descriptor).st_ino)
        os.close(descriptor)

    def dataReceived(self, data: bytes) -> None:
        """
        Remember the bytes.
        """
        self.got += [bytes([byte]) for byte in data]
        super().dataReceived(data)


def file(stack: ExitStack) -> int:
    """
    A descriptor to be sent.
    """
    read, write = os.pipe()
    stack.callback(os.close, read)
    os.close(write)
    return read


def identity(descriptor: int) -> int:
    """
    Tells files apart.
    """
    return os.fstat(descriptor).st_ino


@pytest.mark.parametrize("owner", unix.PRIVATE_NAMES)
def test_privateNames(owner: str) -> None:
    """
    The installed Twisted has the private names that UNIX sockets need.
    """
    found = namedAny(owner)
    assert [name for name in unix.PRIVATE_NAMES[owner] if not hasattr(found, name)] == []


# The port.


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_mode(path: Path, mode: int) -> None:
    """
    The path has the mode that was asked for, and is removed at the stop.
    """
    port = view().listenUNIX(str(path), quiet(), mode=mode)
    assert isinstance(port, UNIXPort) and isinstance(port, Port)
    assert S_IMODE(path.stat().st_mode) == mode
    assert port.getHost().name == os.fsencode(path)
    assert str(path) in repr(port)
    await port.stopListening()
    assert not path.exists()


async def test_modeComesFirst(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nobody can connect before the path has its mode.
    """
    tried: list[Any] = []
    chmod = os.chmod

    def trying(name: Any, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as early:
            tried.append(early.connect_ex(name))
        chmod(name, mode)

    monkeypatch.setattr(os, "chmod", trying)
    port = view().listenUNIX(str(path), quiet(), mode=0o600)
    await port.stopListening()
    assert len(tried) == 1 and tried[0] != 0


async def test_abstract() -> None:
    """
    An abstract name makes no file and takes no lock, and connects.
    """
    name = f"\0tcpdemo-{os.getpid()}"
    server = quiet(Remembering)
    server.made = []
    port = view().listenUNIX(name, server, wantPID=True)
    client = await connected(name)
    await until(lambda: server.made)
    [made] = server.made
    assert made.transport.getHost().name == os.fsencode(name) == client.transport.getPeer().name
    await closed(client)
    await made.whenEnded()
    await closed(made)
    await port.stopListening()


async def test_lock(path: Path) -> None:
    """
    With a lock, a second port on the path is refused, and the lock ends with the
    first.
    """
    port = view().listenUNIX(str(path), quiet(), wantPID=True)
    assert isLocked(f"{path}.lock")
    with pytest.raises(CannotListenError, match="Cannot acquire lock"):
        view().listenUNIX(str(path), quiet(), wantPID=True)
    assert path.is_socket()
    await port.stopListening()
    assert not isLocked(f"{path}.lock")
    assert not path.exists()


async def test_staleLock(path: Path) -> None:
    """
    The path of a process that has died without unlocking it is replaced.
    """
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    Path(f"{path}.lock").symlink_to("999999999")
    port = view().listenUNIX(str(path), quiet(), wantPID=True)
    raw(path).close()
    await port.stopListening()


@pytest.mark.parametrize("wantPID", [True, False])
@pytest.mark.parametrize("what", ["file", "socket", "folder", "missing"])
def test_cannotBind(path: Path, what: str, wantPID: bool, resources: ExitStack) -> None:
    """
    A path in use is left alone; the failure leaves no lock, no descriptor, and a
    factory that has not been started.
    """
    if what == "file":
        path.write_text("mine")
    elif what == "folder":
        path.mkdir()
    elif what == "missing":
        path = path / "s"
    else:
        other = resources.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(str(path))
        other.listen()
    factory, before = quiet(), openFiles()
    with pytest.raises(CannotListenError):
        view().listenUNIX(str(path), factory, wantPID=wantPID)
    assert (factory.numPorts, openFiles()) == (0, before)
    assert not Path(f"{path}.lock").is_symlink()
    assert path.exists() == (what != "missing")


def test_cannotSetMode(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A mode that cannot be set is a failure to listen, and the path does not stay.
    """

    def refused(*args: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "chmod", refused)
    with pytest.raises(CannotListenError):
        view().listenUNIX(str(path), quiet(), wantPID=True)
    assert list(path.parent.iterdir()) == []


def test_cannotStart(path: Path) -> None:
    """
    A factory that raises when it is started leaves no path, no lock and no descriptor.
    """

    class Unready(Factory[Any]):
        noisy = False

        def startFactory(self) -> None:
            raise ZeroDivisionError

    before = openFiles()
    with pytest.raises(ZeroDivisionError):
        view().listenUNIX(str(path), Unready(), wantPID=True)
    assert (list(path.parent.iterdir()), openFiles()) == ([], before)


async def test_replaced(path: Path) -> None:
    """
    The path of another process, which has replaced ours, is left alone at the stop.
    """
    port = view().listenUNIX(str(path), quiet())
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        await port.stopListening()
        assert path.is_socket()


async def test_pathIsGone(path: Path) -> None:
    """
    A path and a lock that somebody has removed are no error at the stop.
    """
    port = view().listenUNIX(str(path), quiet(), wantPID=True)
    path.unlink()
    Path(f"{path}.lock").unlink()
    await port.stopListening()


async def test_pathStays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A path that cannot be removed does not keep the port from closing.
    """

    def refused(*args: object) -> None:
        raise PermissionError(1, "no")

    port = view().listenUNIX(str(path), quiet())
    monkeypatch.setattr(os, "unlink", refused)
    await port.stopListening()
    monkeypatch.undo()
    assert path.is_socket() and not port.connected


async def test_oddNames(path: Path) -> None:
    """
    A client may bind its socket to any name, also to one of four bytes.
    """
    async with fastServer(path=path) as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.bind("\0odd")
            client.connect(str(path))
            protocol = await accepted(server)
            assert protocol.transport.getPeer().name == b"\0odd"
            await closed(protocol)


# The transports.


async def connected(path: Path | str, protocol: Any = None, **options: Any) -> Any:
    """
    A protocol, connected over the lane.
    """
    from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol

    endpoint = UNIXClientEndpoint(view(), str(path), **options)
    return await connectProtocol(endpoint, protocol or Peer())


async def test_bothSides(path: Path) -> None:
    """
    Both sides are ours, count, and keep their addresses after the loss.
    """
    async with fastServer(path=path) as server:
        client = await connected(path)
        protocol = await accepted(server)
        ours, theirs = protocol.transport, client.transport
        assert isinstance(ours, UNIXServerTransport) and isinstance(ours, Server)
        assert isinstance(theirs, UNIXClientTransport) and isinstance(theirs, Client)
        verifyObject(IUNIXTransport, ours)
        theirs.write(b"hello")
        await protocol.whenReceived(5)
        ours.write(b"hi")
        await client.whenReceived(2)
        assert (ours.bytesRead, ours.bytesWritten, ours.bytesPending) == (5, 2, 0)
        assert (theirs.bytesRead, theirs.bytesWritten, theirs.bytesPending) == (2, 5, 0)
        for transport in (ours, theirs):
            transport.setTcpNoDelay(True)
            assert not transport.getTcpNoDelay()
        theirs.loseConnection()
        await client.whenLost()
        await protocol.whenEnded()
        await closed(protocol)
        assert ours.getHost().name == theirs.getPeer().name == os.fsencode(path)
        assert ours.getPeer() == theirs.getHost()
        assert ours.getPeer().name is None


async def test_names(path: Path) -> None:
    """
    Log lines and the text of a transport name the protocol and the path.
    """
    async with fastServer(path=path) as server:
        client = await connected(path)
        protocol = await accepted(server)
        assert client.transport.logPrefix() == "Peer,client"
        assert protocol.transport.logPrefix() == "Remembering,0,"
        assert repr(protocol.transport) == f"<Remembering #0 on {path}>"
        await closed(client)
        await protocol.whenEnded()
        await closed(protocol)


async def test_namesOfPeers(path: Path) -> None:
    """
    The path of a client, which the client has chosen, is escaped in log lines.
    """
    async with fastServer(path=path) as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.bind(f"{path}\x1b[2J\n")
            client.connect(str(path))
            protocol = await accepted(server)
            assert protocol.transport.logPrefix() == rf"Remembering,0,{path}\x1b[2J\n"
            await closed(protocol)


async def test_writesThrough(path: Path) -> None:
    """
    Bytes reach the kernel within the call of C{write()}.
    """
    async with fastServer(path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            protocol.transport.write(b"at once")
            assert peer.recv(100) == b"at once"
            await closed(protocol)


async def test_halfClose(path: Path) -> None:
    """
    Each half ends by itself, and a protocol that can be half-closed goes on.
    """
    async with fastServer(path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            peer.shutdown(socket.SHUT_WR)
            await protocol.whenEnded()
            protocol.transport.write(b"late")
            assert peer.recv(100) == b"late"
            protocol.transport.loseWriteConnection()
            await until(lambda: ended(peer))
            await closed(protocol)


def ended(peer: socket.socket) -> bool:
    """
    Whether the other side has sent its end.
    """
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


async def test_abort(path: Path) -> None:
    """
    An abort drops pending bytes and ends at once.
    """
    async with fastServer(path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            protocol.transport.write(bytes(10_000_000))
            protocol.transport.abortConnection()
            await protocol.whenLost()
            assert isinstance(protocol.reason, ConnectionAborted)
            assert protocol.transport is not None and protocol.transport.bytesPending > 0
            peer.setblocking(True)
            got = 0
            while data := peer.recv(1 << 20):
                got += len(data)
            assert 0 < got < 10_000_000


async def test_resetOfUnread(path: Path) -> None:
    """
    A peer that is aborted with bytes unread reads an error.
    """
    async with fastServer(path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            protocol.transport.pauseProducing()
            peer.send(b"unread")
            await closed(protocol)
            with pytest.raises(ConnectionResetError):
                peer.recv(1)


@pytest.mark.parametrize("taking", [False, True])
async def test_closedWithBytes(path: Path, taking: bool) -> None:
    """
    Bytes of a peer that has closed arrive, though an answer to them cannot be sent;
    and the end is an orderly one.
    """

    class Answering(Receiving if taking else Remembering):  # type: ignore[misc]
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            self.transport.write(b"answer")

    protocols: list[Any] = []

    async with fastServer(orderly(Answering), path=path) as server:
        for _ in range(10):
            with raw(path) as peer:
                protocol = await accepted(server, len(protocols) + 1)
                protocols.append(protocol)
                protocol.transport.pauseProducing()
                size = 0
                while size < 150_000:  # more than one read takes
                    size += peer.send(bytes(50_000))
            protocol.transport.resumeProducing()
            await protocol.whenLost()
            assert len(protocol.received) == size
            assert isinstance(protocol.reason, ConnectionDone)


def orderly(protocol: type) -> type:
    """
    A protocol like another, that cannot be half-closed.
    """
    from twisted.internet.interfaces import IHalfCloseableProtocol
    from zope.interface import classImplementsOnly, implementedBy

    made = type("Orderly", (protocol,), {})
    classImplementsOnly(
        made, *(i for i in implementedBy(protocol) if i is not IHalfCloseableProtocol)
    )
    return made


async def test_peerThatReadsNoMore(path: Path) -> None:
    """
    A peer that ends its reading side, and keeps the other open, is lost at the next
    write.
    """
    async with fastServer(path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            peer.shutdown(socket.SHUT_RD)
            protocol.transport.write(b"x")
            await protocol.whenLost()
            assert isinstance(protocol.reason, ConnectionLost)


async def test_pausedAndClosed(path: Path) -> None:
    """
    A write to a peer that has closed ends a connection that is paused.
    """
    async with fastServer(path=path) as server:
        with raw(path):
            protocol = await accepted(server)
            protocol.transport.pauseProducing()
        protocol.transport.write(b"x")
        await protocol.whenLost()
        assert isinstance(protocol.reason, ConnectionLost)


async def test_producer(path: Path) -> None:
    """
    A producer is paused while the peer does not read, and resumed afterwards.
    """
    async with fastServer(path=path) as server:
        with raw(path) as peer:
            protocol, pusher = await accepted(server), Pusher()
            protocol.transport.registerProducer(pusher, True)
            protocol.transport.write(bytes(1_000_000))
            assert pusher.told == ["pause"]
            await drainPeer(peer, 1_000_000)
            await until(lambda: pusher.told == ["pause", "resume"])
            protocol.transport.unregisterProducer()
            await closed(protocol)


# Connecting.


@pytest.mark.parametrize("left", [True, False])
async def test_nobodyListens(path: Path, left: bool) -> None:
    """
    Without a server the attempt fails, and leaves nothing.
    """
    if left:
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    before = openFiles()
    factory = Failing()
    view().connectUNIX(str(path), factory)
    assert isinstance(await failureOf(factory.failed), ConnectError)
    assert openFiles() == before


@pytest.mark.parametrize("folder", [True, False])
async def test_checkPID(path: Path, folder: bool) -> None:
    """
    With C{checkPID}, a path without a lock is not connected to.
    """
    factory, before = Failing(), openFiles()
    path = path if folder else path / "s"
    view().connectUNIX(str(path), factory, checkPID=True)
    assert isinstance(await failureOf(factory.failed), BadFileError)
    assert openFiles() == before


async def test_noDescriptor(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no descriptor is left, the attempt fails.
    """

    def refused(self: object) -> None:
        raise OSError(EMFILE, "Too many open files")

    monkeypatch.setattr(UNIXClientTransport, "createInternetSocket", refused)
    factory = Failing()
    view().connectUNIX(str(path), factory)
    error = await failureOf(factory.failed)
    assert isinstance(error, ConnectBindError) and error.osError == EMFILE


@pytest.fixture
def full(path: Path, resources: ExitStack) -> socket.socket:
    """
    A server that does not accept, and whose queue is full.
    """
    server = resources.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(path))
    server.listen(0)
    while True:
        waiting = resources.enter_context(socket.socket(socket.AF_UNIX))
        waiting.setblocking(False)
        if waiting.connect_ex(str(path)):
            return server


async def test_fullQueue(path: Path, full: socket.socket) -> None:
    """
    A client that finds the queue full connects when there is room, and does not
    keep the processor busy until then.
    """
    tries: list[int] = []

    class Counting(UNIXClientTransport):
        def doConnect(self) -> None:
            tries.append(1)
            super().doConnect()

    class Connector(unix.UNIXConnector):
        def _makeTransport(self) -> Any:
            return Counting(self.address, self, self.reactor, self.checkPID)

    peer: Any = Peer()
    factory = Failing()
    factory.buildProtocol = lambda addr: peer  # type: ignore[method-assign]
    Connector(str(path), factory, 10, installedReactor(), 0).connect()
    for _ in range(50):
        await turn()
    assert len(tries) < 20 and peer.transport is None
    full.accept()[0].close()
    await until(lambda: peer.transport is not None)
    await closed(peer)


@pytest.mark.parametrize("stop", [True, False])
async def test_fullQueueForEver(path: Path, full: socket.socket, stop: bool) -> None:
    """
    An attempt that waits can be stopped, and times out.
    """
    factory = Failing()
    connector = view().connectUNIX(str(path), factory, timeout=0.05)
    await until(lambda: connector.transport._again is not None)
    if stop:
        connector.stopConnecting()
    error = await failureOf(factory.failed)
    assert isinstance(error, UserError if stop else TimeoutError)


# Descriptors.


async def test_descriptor(path: Path, resources: ExitStack) -> None:
    """
    A descriptor arrives before the byte that is written after it, on both sides.
    """
    sent = file(resources)
    async with fastServer(Receiving, path=path) as server:
        client = await connected(path, made(Receiving)())
        protocol = await accepted(server)
        for source, target in ((client, protocol), (protocol, client)):
            source.transport.write(b"a")
            await target.whenReceived(1)
            source.transport.sendFileDescriptor(sent)
            source.transport.write(b"bc")
            await target.whenReceived(3)
            assert target.got == [b"a", identity(sent), b"b", b"c"]
        await closed(client)
        await protocol.whenEnded()
        await closed(protocol)


def made(protocol: Any) -> Any:
    """
    A protocol with a factory that remembers nothing.
    """
    return lambda: _of(protocol())


def _of(protocol: Any) -> Any:
    protocol.factory = type("F", (), {"made": []})
    return protocol


async def test_atOnce(path: Path, resources: ExitStack) -> None:
    """
    A descriptor leaves within the call of the C{write()} after it, so that it may be
    closed then, and the next write is a direct one again.
    """
    async with fastServer(path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            sent = os.dup(file(resources))
            protocol.transport.sendFileDescriptor(sent)
            protocol.transport.write(b"xyz")
            assert protocol.transport._direct
            expected = identity(sent)
            os.close(sent)
            data, descriptors, _, _ = socket.recv_fds(peer, 100, 10)
            assert data == b"xyz" and [identity(d) for d in descriptors] == [expected]
            os.close(descriptors[0])
            await closed(protocol)


async def test_backPressure(path: Path, resources: ExitStack) -> None:
    """
    Under back-pressure each descriptor goes with its own byte, whatever the kernel
    takes at once.
    """
    files = [file(resources) for _ in range(100)]
    async with fastServer(path=path) as server:
        client = await connected(path, made(Receiving)())
        protocol = await accepted(server)
        client.transport.pauseProducing()
        expected: list[Any] = []
        for number, sent in enumerate(files):
            size = 1 + number * 500
            protocol.transport.write(b"." * size)
            protocol.transport.sendFileDescriptor(sent)
            protocol.transport.write(b"x")
            expected += [b"."] * size + [identity(sent), b"x"]
        assert protocol.transport.bytesPending > 0
        client.transport.resumeProducing()
        total = sum(isinstance(each, bytes) for each in expected)
        await client.whenReceived(total)
        # A read joins bytes with the descriptor behind them.
        assert [each for each in client.got if isinstance(each, int)] == [
            identity(sent) for sent in files
        ]
        assert protocol.transport.bytesPending == 0
        await closed(client)
        await protocol.whenEnded()
        await closed(protocol)


async def test_lastBytes(path: Path, resources: ExitStack) -> None:
    """
    A descriptor that no byte follows goes with one that waits already.
    """
    async with fastServer(path=path) as server:
        client = await connected(path, made(Receiving)())
        protocol = await accepted(server)
        client.transport.pauseProducing()
        protocol.transport.write(bytes(1_000_000))
        protocol.transport.sendFileDescriptor(file(resources))
        protocol.transport.loseConnection()
        client.transport.resumeProducing()
        await client.whenReceived(1_000_000)
        assert sum(isinstance(each, int) for each in client.got) == 1
        await protocol.whenLost()
        assert isinstance(protocol.reason, ConnectionDone)
        await closed(client)


@pytest.mark.parametrize("closing", [True, False])
async def test_overrun(path: Path, resources: ExitStack, closing: bool) -> None:
    """
    A descriptor without a byte ends the connection.
    """
    async with fastServer(path=path) as server:
        with raw(path):
            protocol = await accepted(server)
            protocol.transport.sendFileDescriptor(file(resources))
            if closing:
                protocol.transport.loseConnection()
            await protocol.whenLost()
            assert isinstance(protocol.reason, FileDescriptorOverrun)


async def test_tooManyDescriptors(path: Path, resources: ExitStack) -> None:
    """
    A producer is paused while many descriptors wait.
    """
    sent = file(resources)
    async with fastServer(path=path) as server:
        with raw(path):
            protocol, pusher = await accepted(server), Pusher()
            protocol.transport.registerProducer(pusher, True)
            for _ in range(unix.MANY + 1):
                protocol.transport.sendFileDescriptor(sent)
            assert pusher.told == ["pause"]
            await closed(protocol)


async def test_closedDescriptor(path: Path, resources: ExitStack) -> None:
    """
    A descriptor that is not open ends the connection, outside the call.
    """
    async with fastServer(path=path) as server:
        with raw(path):
            protocol = await accepted(server)
            protocol.transport.sendFileDescriptor(1_000_000)
            protocol.transport.write(b"x")
            assert protocol.reason is None
            await protocol.whenLost()
            assert isinstance(protocol.reason, ConnectionLost)


async def test_afterTheEnd(path: Path, resources: ExitStack) -> None:
    """
    A descriptor for a connection that is over is ignored.
    """
    async with fastServer(path=path) as server:
        with raw(path):
            protocol = await accepted(server)
            transport = protocol.transport
            transport.abortConnection()
            transport.sendFileDescriptor(file(resources))
            await protocol.whenLost()
            transport.sendFileDescriptor(file(resources))


async def test_nobodyTakes(path: Path, resources: ExitStack) -> None:
    """
    Descriptors sent to a protocol that takes none never reach this process.
    """
    async with fastServer(path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            before = openFiles()
            socket.send_fds(peer, [b"data"], [file(resources)] * 10)
            await protocol.whenReceived(4)
            assert openFiles() == before + 1  # the file itself
            await closed(protocol)


async def test_many(path: Path, resources: ExitStack) -> None:
    """
    One message may bring as many descriptors as the kernel passes; they are not
    inherited by other programs.
    """
    inheritable: list[bool] = []

    class Looking(Receiving):
        def fileDescriptorReceived(self, descriptor: int) -> None:
            inheritable.append(os.get_inheritable(descriptor))
            super().fileDescriptorReceived(descriptor)

    sent = file(resources)
    async with fastServer(Looking, path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            before = openFiles()
            socket.send_fds(peer, [b"x"], [sent] * 253)
            await protocol.whenReceived(1)
            assert protocol.got == [identity(sent)] * 253 + [b"x"]
            assert not any(inheritable)
            assert openFiles() == before
            await closed(protocol)


async def test_noNumberLeft(path: Path, resources: ExitStack) -> None:
    """
    A connection ends as an error when the process has no number for a descriptor that has
    come: the protocol would take the next one for it.
    """
    sent = file(resources)
    async with fastServer(Receiving, path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            before = openFiles()
            with noFreeDescriptor(but=1):
                socket.send_fds(peer, [b"x"], [sent, sent])
                await protocol.whenLost()
            assert isinstance(protocol.reason, OSError) and protocol.reason.errno == EMFILE
            assert protocol.got == []
            assert openFiles() == before - 1  # its own socket


async def test_receiverRaises(path: Path, resources: ExitStack, loggedErrors: Any) -> None:
    """
    A protocol that raises ends its connection; descriptors that it has not taken
    are closed.
    """

    class Broken(Receiving):
        def fileDescriptorReceived(self, descriptor: int) -> None:
            os.close(descriptor)
            raise ZeroDivisionError

    sent = file(resources)
    async with fastServer(Broken, path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            before = openFiles()
            socket.send_fds(peer, [b"x"], [sent] * 3)
            await protocol.whenLost()
            assert openFiles() == before - 1  # its own socket
            assert len(loggedErrors.take(ZeroDivisionError)) == 1


async def test_otherProtocol(path: Path, resources: ExitStack) -> None:
    """
    Another protocol in place of the first gets descriptors as it takes them: at once
    if it takes none, from the next C{resumeProducing} on if it does.
    """

    class Changing(Receiving):
        def fileDescriptorReceived(self, descriptor: int) -> None:
            super().fileDescriptorReceived(descriptor)
            self.transport.protocol = plain

    class Plain(Protocol):
        data = b""

        def dataReceived(self, data: bytes) -> None:
            self.data += data

    plain, sent = Plain(), file(resources)
    async with fastServer(Changing, path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            transport = protocol.transport
            before = openFiles()
            socket.send_fds(peer, [b"x"], [sent, sent])
            await until(lambda: plain.data == b"x")
            assert protocol.got == [identity(sent)]
            assert openFiles() == before
            transport.resumeProducing()
            assert "doRead" not in vars(transport)
            transport.protocol = protocol
            transport.resumeProducing()
            socket.send_fds(peer, [b"y"], [sent])
            await until(lambda: protocol.got[1:] == [identity(sent)])
            transport.protocol = protocol
            await closed(protocol)


@everyContext
@pytest.mark.parametrize("how", ["wrapped", "started"])
async def test_receiverUnderTLS(path: Path, contexts: Any, how: str) -> None:
    """
    Under TLS, from the start or later, a protocol that takes descriptors gets what its
    peer has encrypted, and nothing that came in the clear.
    """
    context = contexts.server()
    options = {"tls": context} if how == "wrapped" else {}
    async with fastServer(Receiving, path=path, **options) as server:
        client = await connected(path, made(Receiving)())
        protocol = await accepted(server)
        if how == "started":
            protocol.transport.startTLS(context)
        client.transport.startTLS(TwistedContexts.client())
        client.transport.write(b"hello")
        protocol.transport.write(b"hi")
        await protocol.whenReceived(5)
        await client.whenReceived(2)
        protocol.transport.pauseProducing()
        protocol.transport.resumeProducing()
        client.transport.write(b"!")
        await protocol.whenReceived(6)
        assert (protocol.received, client.received) == (b"hello!", b"hi")
        await closed(client)
        await protocol.whenLost()


async def test_clearUnderTLS(path: Path, resources: ExitStack) -> None:
    """
    Bytes in the clear, with a descriptor or without, are no data of a connection with TLS.
    """
    async with fastServer(Receiving, path=path, tls=PythonContexts.server()) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            socket.send_fds(peer, [b"in the clear"], [file(resources)])
            await protocol.whenLost()
            assert isinstance(protocol.reason, SSLError)
            assert protocol.got == []


@pytest.mark.parametrize("isFirst", [True, False])
async def test_sentUnderTLS(path: Path, resources: ExitStack, isFirst: bool) -> None:
    """
    A descriptor that would have to go through TLS ends the connection, as one without a
    byte does, outside the call.
    """
    async with fastServer(path=path) as server:
        with raw(path):
            protocol = await accepted(server)
            transport = protocol.transport
            calls = [
                lambda: transport.sendFileDescriptor(file(resources)),
                lambda: transport.startTLS(PythonContexts.server()),
            ]
            for call in calls if isFirst else reversed(calls):
                call()
            transport.write(b"x")
            assert protocol.reason is None
            await protocol.whenLost()
            assert isinstance(protocol.reason, FileDescriptorOverrun)


async def test_endWhileReceiving(path: Path) -> None:
    """
    A protocol that takes descriptors hears of the end as any other.
    """
    async with fastServer(orderly(Receiving), path=path) as server:
        with raw(path) as peer:
            protocol = await accepted(server)
            peer.send(b"x")
        await protocol.whenLost()
        assert isinstance(protocol.reason, ConnectionDone)
        assert protocol.got == [b"x"]


async def test_adopted(path: Path) -> None:
    """
    A connected socket of another program is served, with the addresses of both
    ends; what the factory refuses is closed.
    """
    told: list[Any] = []

    class One(Factory[Any]):
        noisy = False

        def buildProtocol(self, addr: Any) -> Any:
            told.append(addr)
            if len(told) == 2:
                return None
            if len(told) == 3:
                raise ZeroDivisionError
            return Peer()

    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(str(path))
        listener.listen()
        other.bind(f"{path}.client")
        other.connect(str(path))
        ours, _ = listener.accept()
        with ours:
            transport = view().adoptStreamConnection(ours.fileno(), socket.AF_UNIX, One())
            assert isinstance(transport, UNIXServerTransport)
            assert told[0].name == transport.getPeer().name == os.fsencode(f"{path}.client")
            assert transport.getHost().name == os.fsencode(path)
            before = openFiles()
            assert view().adoptStreamConnection(ours.fileno(), socket.AF_UNIX, One()) is None
            with pytest.raises(ZeroDivisionError):
                view().adoptStreamConnection(ours.fileno(), socket.AF_UNIX, One())
            assert openFiles() == before
        await closed(transport.protocol)


async def test_nothingStays(path: Path) -> None:
    """
    After the last connection the poller serves nobody.
    """
    poller = pollerOf(installedReactor())
    before = poller.connectionCount
    async with fastServer(path=path) as server:
        client = await connected(path)
        protocol = await accepted(server)
        await closed(client)
        await protocol.whenEnded()
        await closed(protocol)
    assert poller.connectionCount == before
