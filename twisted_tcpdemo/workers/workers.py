"""
The workers of a server: who gets the next client, and who replaces whom.

The factory has decided when a client comes here, and its record has a slot.  If no worker
can take it just now, it waits, and the ports accept nobody: the kernel's queue holds the
others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from socket import AF_INET, AF_INET6, socket
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.logger import Logger
from zope.interface import implementer

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.fast.accepting import AcceptingPort
from twisted_tcpdemo.fast.proxyheader import Proxied, ProxyHeader
from twisted_tcpdemo.interfaces import IHandOver
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.shapes import AnyReactor, Clock
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.budgets import Budgets
from twisted_tcpdemo.values.checks import nonNegative, whole
from twisted_tcpdemo.values.report import CloseReason, WorkerReport
from twisted_tcpdemo.workers.lines import LineBudget, Unbounded, sayAgain
from twisted_tcpdemo.workers.lookout import LOOK, Lookout
from twisted_tcpdemo.workers.messages import headerTo
from twisted_tcpdemo.workers.post import Post
from twisted_tcpdemo.workers.process import Worker
from twisted_tcpdemo.workers.program import MOST_WORKERS, ProgramError, programFor
from twisted_tcpdemo.workers.remote import Remote, RemoteTransport

_log = Logger(namespace="tcpdemo")

BUDGETS: Final = [field.name for field in fields(Budgets) if field.init]

FAMILIES: Final = {AF_INET: "IPv4", AF_INET6: "IPv6"}


@implementer(IHandOver)
class Workers:
    """
    The workers of one factory.

    @ivar drain: seconds that the connections of a replaced worker have to end.
    """

    def __init__(
        self,
        factory: TCPDemoFactory,
        count: int,
        *,
        reactor: AnyReactor,
        timeout: float | None = 30.0,
        drain: float | None = 10.0,
        logBudget: LineBudget | None = None,
        hopeless: Callable[[], object] = lambda: None,
        isServing: Callable[[], object] = lambda: None,
    ) -> None:
        """
        @param factory: decides and counts.
        @param count: how many.
        @param timeout: seconds without a word after which a worker is killed; L{None} or
            C{0}: never.
        @param drain: see the attribute.
        @param logBudget: the budget that lines of workers ask; L{None}: there is none.
        @param hopeless: is called when no worker is left, and none will be started.
        @param isServing: is called when a worker has become able to serve.
        @raise ProgramError: if the protocol cannot be imported by its name.
        """
        self.processes = whole("workers", count, 1, MOST_WORKERS)
        self._factory = factory
        self._reactor = reactor
        clock: Clock = steady(reactor)
        self._clock = clock
        self._timeout = nonNegative("workerTimeout", timeout) or None
        self.drain = drain
        self._logBudget = logBudget or Unbounded()
        self._hopeless = hopeless
        self._isServing = isServing
        self._program = programFor(factory)
        self._posts = [Post(number, self, clock) for number in range(1, count + 1)]
        self._all: set[Worker] = set()
        self._lookout = Lookout(self._all, clock, self._timeout)
        self._waiting: dict[Remote, None] = {}
        self._ports: dict[AcceptingPort, int] = {}
        self._told: list[list[Any]] = []
        self._generations = 0
        self._state = "new"
        self._stopped: list[Deferred[None]] = []

    # What a port and a factory ask: IHandOver.

    @property
    def isOpen(self) -> bool:
        """
        See L{IHandOver}.
        """
        return not self._waiting and any(worker.hasRoom for worker in self._serving())

    @property
    def elsewhere(self) -> int:
        """
        See L{IHandOver}.
        """
        here = len(self._waiting) + sum(worker.unsentCount for worker in self._all)
        return max(0, self._factory.connectionCount - here)

    def take(
        self,
        client: socket,
        name: Any,
        port: AcceptingPort,
        peer: IAddress,
        header: ProxyHeader | None,
    ) -> IProtocol | None:
        """
        See L{IHandOver}.
        """
        index = self._indexOf(port)
        host, proxied = port.hostOf(client), None
        if header is not None:
            proxied = Proxied(header, peer, host)
            if header.source is not None:
                peer, host = header.source, header.destination or host
        transport = RemoteTransport(self._reactor, host, peer, proxied)
        message = [index, name, headerTo(header)]
        connection = Remote(transport, self._factory, client, message)
        farewell = self._factory.enter(connection)
        if farewell is None and connection.closeReason is None:
            # A port without a stage accepts in batches, and says at the end of one.
            self._place(connection, isFlushed=port.stage is None)
        return farewell

    def flush(self) -> None:
        """
        See L{IHandOver}.
        """
        for worker in self._serving():
            worker.flush()

    def _serving(self) -> Iterable[Worker]:
        return (post.worker for post in self._posts if post.worker is not None)

    def _place(self, connection: Remote, isFlushed: bool = False) -> None:
        """
        Give a client to the worker with the fewest, or let it wait as long as there may be
        another.

        @param isFlushed: whether L{flush} will be called.
        """
        able = [worker for worker in self._serving() if worker.hasRoom]
        if able:
            min(able, key=lambda worker: worker.burden).serve(connection, isFlushed)
        elif self._state == "hopeless":
            connection.abort(CloseReason.WORKER_LOST)
        else:
            self._waiting[connection] = None
            self._factory.placesChanged()

    def _placeWaiting(self) -> None:
        """
        Place the clients that wait, and let the ports accept if there is room.
        """
        waiting, self._waiting = self._waiting, {}
        for connection in waiting:
            if connection.closeReason is None:
                self._place(connection)
        self._factory.placesChanged()

    # Ports.

    def opened(self, port: object, description: str | None) -> None:
        """
        Take the clients of a port.

        @param description: the string of its endpoint, which says how TLS begins.
        @raise ProgramError: if workers cannot serve its clients.
        """
        if not isinstance(port, AcceptingPort) or port.handOver is not self:
            raise ProgramError("workers need an endpoint on the fast lane")
        if port.engineMaker is not None and description is None:
            raise ProgramError("workers need an endpoint with TLS as a string (tls:, ssl:)")
        self._enter(port, description if port.engineMaker is not None else None)

    def _indexOf(self, port: AcceptingPort) -> int:
        index = self._ports.get(port)
        if index is None:  # one that was opened past the service
            if port.engineMaker is not None:
                raise ProgramError("workers know nothing of the TLS of this port")
            index = self._enter(port, None)
        return index

    def _enter(self, port: AcceptingPort, description: str | None) -> int:
        if port not in self._ports:
            self._ports[port] = index = len(self._told)
            family = FAMILIES.get(port.addressFamily, "UNIX")
            where = list(endpointOf(port.getHost()))
            self._told.append([index, family, port.noDelay, where, description])
            for worker in self._all:
                worker.open(self._told[index])
        return self._ports[port]

    # Their life.

    def start(self) -> None:
        """
        Start them.
        """
        if self._state == "new":
            self._state = "running"
            for post in self._posts:
                post.fill()
            self._lookout.begin()

    def restart(self) -> None:
        """
        Replace every worker by one that has imported the program anew.  Each one serves
        until the other is ready, and then has the time of a drain for its connections.
        """
        if self._state in {"running", "hopeless"}:
            self._state = "running"
            _log.info("restart: {count} workers are replaced", count=self.processes)
            for post in self._posts:
                post.fill()

    def stop(self) -> Deferred[None]:
        """
        End them.

        @return: fires when the last one has ended.
        """
        self._state = "stopping"
        for post in self._posts:
            post.close()
        if not self._all:
            self._ended()
            return succeed(None)
        for worker in list(self._all):
            if worker.state == "starting":
                worker.kill()
            else:
                worker.leave(0.0)
        self._lookout.expectEnd()
        waiter: Deferred[None] = Deferred()
        self._stopped.append(waiter)
        return waiter

    def _ended(self) -> None:
        self._state = "stopped"
        self._lookout.end()
        waiters, self._stopped = self._stopped, []
        for waiter in waiters:
            waiter.callback(None)

    def hire(self, number: int) -> Worker:
        """
        See L{Employer<twisted_tcpdemo.workers.post.Employer>}.
        """
        self._generations += 1
        worker = Worker(number, self._generations, self, self._reactor)
        worker.start(self._settings(worker))
        self._all.add(worker)
        return worker

    def _settings(self, worker: Worker) -> dict[str, Any]:
        return {
            **self._changeable(),
            "generation": worker.generation,
            "reactor": type(self._reactor).__module__,
            "interval": min(LOOK, (self._timeout or LOOK) / 4),
            "ports": list(self._told),  # those that open from now on are told by themselves
        }

    def _changeable(self) -> dict[str, Any]:
        factory = self._factory
        names = ("allowHalfOpen", "pauseOnConnect", "resumeAfter", "noDelay", "keepAlive")
        more = ("keepAliveInitialDelay", "keepAliveInterval", "keepAliveCount")
        settings = {
            "program": asdict(self._program),
            "factory": {name: getattr(factory, name) for name in (*names, *more)},
            "budgets": {name: getattr(factory.budgets, name) for name in BUDGETS},
        }
        # The wire takes no subclasses of numbers and text, such as the members of an IntEnum.
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain

    def update(self) -> None:
        """
        See L{IHandOver}.
        """
        self._program = programFor(self._factory)
        settings = self._changeable()
        for worker in self._all:
            worker.update(settings)

    def dismiss(self, worker: Worker) -> None:
        """
        See L{Employer<twisted_tcpdemo.workers.post.Employer>}.
        """
        _log.info(
            "worker {worker}: process {pid} is replaced, and leaves with {connectionCount} "
            "connections",
            worker=worker.number,
            pid=worker.pid,
            connectionCount=len(worker.connections),
        )
        worker.leave(self.drain)

    # What workers tell.

    def isReady(self, worker: Worker) -> None:
        """
        See L{Office<twisted_tcpdemo.workers.process.Office>}.
        """
        _log.info("worker {worker} is process {pid}", worker=worker.number, pid=worker.pid)
        self._postOf(worker).isReady(worker)
        self._placeWaiting()
        self._isServing()

    def hasRoomAgain(self) -> None:
        """
        See L{Office<twisted_tcpdemo.workers.process.Office>}.
        """
        self._placeWaiting()

    def said(self, worker: Worker, line: dict[str, Any]) -> None:
        """
        See L{Office<twisted_tcpdemo.workers.process.Office>}.
        """
        sayAgain(worker.number, line, self._logBudget)

    def isGone(self, worker: Worker, why: str) -> None:
        """
        See L{Office<twisted_tcpdemo.workers.process.Office>}.
        """
        self._all.discard(worker)
        self._postOf(worker).isGone(worker, why)
        self._waiting.update(dict.fromkeys(worker.unserved))
        self._placeWaiting()
        if self._state == "stopping":
            if not self._all:
                self._ended()
        else:
            self.gaveUp()

    def gaveUp(self) -> None:
        """
        See L{Employer<twisted_tcpdemo.workers.post.Employer>}.
        """
        if self._state == "running" and all(post.isHopeless for post in self._posts):
            self._state = "hopeless"
            self._placeWaiting()
            self._hopeless()

    def _postOf(self, worker: Worker) -> Post:
        return self._posts[worker.number - 1]

    @property
    def parentCPU(self) -> float:
        """
        See L{IHandOver}.
        """
        return self._lookout.parentCPU

    def reports(self, isTotal: bool = False) -> list[WorkerReport]:
        """
        See L{IHandOver}.
        """
        now = self._clock.seconds()
        present = sorted(self._all, key=lambda worker: (worker.number, worker.generation))
        former = [post.former for post in self._posts if isTotal]
        return [*former, *(_reportOf(w, self._postOf(w).startCount, now) for w in present)]


def _reportOf(worker: Worker, startCount: int, now: float) -> WorkerReport:
    pulse = worker.pulse
    return WorkerReport(
        number=worker.number,
        pid=worker.pid,
        state=worker.state,
        connectionCount=len(worker.connections),
        bytesRead=worker.bytesRead,
        bytesWritten=worker.bytesWritten,
        cpu=pulse.cpu,
        cpuSeconds=pulse.cpuSeconds,
        lateness=max(pulse.lateness, now - pulse.heardAt - LOOK),
        age=now - worker.startedAt,
        startCount=startCount,
    )
