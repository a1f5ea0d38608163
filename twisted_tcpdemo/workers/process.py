"""
One worker, as the parent sees it: a process, a wire, and the connections that it has.

It is gone when its process has ended, and not when its wire has: the kernel closes the
sockets of a killed process one after the other, and a slot is free when all are closed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_tcpdemo.clock import steady
from twisted_tcpdemo.shapes import AnyReactor, Clock
from twisted_tcpdemo.values.report import CloseReason
from twisted_tcpdemo.workers.departure import Departure
from twisted_tcpdemo.workers.lines import Printed
from twisted_tcpdemo.workers.pulse import Pulse
from twisted_tcpdemo.workers.remote import Remote
from twisted_tcpdemo.workers.wire import Message, Wire, pair

_log = Logger(namespace="tcpdemo")

WIRE: Final = 3
"""The descriptor of the wire in a worker."""

FEW_DESCRIPTORS: Final = 16
"""Free descriptors of a worker under which it gets no more clients."""

LATE: Final = 1.0
"""Seconds without a word after which a worker gets clients only if no other can."""

GRACE: Final = 1.0
"""Seconds between the end of its wire and the end of its process."""

_BOOT: Final = (
    # Before anything is imported: the current folder is in the path of C{-c}.
    "import sys; sys.path[:] = sys.argv.pop().split('\\n'); "
    "from twisted_tcpdemo.workers.start import main; main()"
)


class Office(Protocol):
    """
    What a worker tells its parent's supervision.
    """

    def isReady(self, worker: Worker) -> None:
        """
        It can serve.
        """

    def isGone(self, worker: Worker, why: str) -> None:
        """
        Its process has ended.

        @param why: how, for a line of the log.
        """

    def hasRoomAgain(self) -> None:
        """
        A worker may get clients that could not.
        """

    def said(self, worker: Worker, line: dict[str, Any]) -> None:
        """
        It has a line for the log.
        """


class Worker(ProcessProtocol):
    """
    One process.

    @ivar number: its small number, the same as that of the worker that it replaces.
    @ivar state: C{"starting"}, C{"serving"}, C{"leaving"} (it serves the connections that it
        has, and gets no others) or C{"gone"}.
    @ivar pid: the number of its process, kept when that has ended.
    @ivar connections: the records of its connections, by their numbers.
    @ivar bytesRead: bytes that its connections have delivered; C{bytesWritten}: bytes that
        they have accepted.  Both are kept as they are told: to add up ten thousand
        connections takes milliseconds.
    @ivar startedAt: when it was started; C{readyAt}: since when it can serve, or L{None}.
    @ivar unserved: clients that it was to get, given back at its end.
    @ivar why: the reason that it gave for not starting.
    @ivar isKilled: whether the parent has killed it.
    @ivar isStopped: whether it was told to end.
    @ivar isOwnEnd: whether its end is its own fault; a kill from outside (SIGKILL) is not.
    @ivar lostCount: connections that it had at its end.
    """

    def __init__(self, number: int, generation: int, office: Office, reactor: AnyReactor) -> None:
        """
        @param generation: a number that no other worker of this parent has.
        """
        self.number = number
        self.generation = generation
        self.state = "starting"
        self.connections: dict[int, Remote] = {}
        self.bytesRead = self.bytesWritten = 0
        self.unserved: list[Remote] = []
        self._clock: Clock = steady(reactor)
        self.pid: int | None = None
        self.startedAt = self._clock.seconds()
        self.readyAt: float | None = None
        self.pulse = Pulse(self.startedAt)
        self.why = ""
        self.isKilled = False
        self.isStopped = False
        self.isOwnEnd = True
        self.lostCount = 0
        self._office = office
        self._reactor = reactor
        self._wire: Wire | None = None
        self._wantsRoom = False
        self._departure: Departure | None = None
        self._grace: IDelayedCall | None = None
        self._out, self._err = Printed("stdout", "info"), Printed("stderr", "error")
        self._words: dict[str, Callable[..., None]] = {
            "end": self._ended,
            "counts": self._counted,
            "times": self._timed,
            "state": self._beat,
            "log": self._logged,
            "ready": self._ready,
            "failed": self._failed,
        }

    def __repr__(self) -> str:
        return f"<worker {self.number} {self.state}, process {self.pid}>"

    def start(self, settings: dict[str, Any]) -> None:
        """
        Start the process.

        @param settings: the first message: its program and its reactor, the ports, and the
            settings of the factory, as plain values.
        @raise OSError: if there can be no process or no wire.
        """
        path = "\n".join(folder for folder in sys.path if isinstance(folder, str))
        ours, theirs = pair()
        try:
            with theirs, open(os.devnull, "rb") as nothing:
                process = self._reactor.spawnProcess(
                    self,
                    sys.executable,
                    [sys.executable, "-c", _BOOT, str(self.number), path],
                    env=None,
                    childFDs={0: nothing.fileno(), 1: "r", 2: "r", WIRE: theirs.fileno()},
                )
        except BaseException:
            ours.close()
            raise
        self.pid = process.pid
        self._wire = Wire(ours, self, self._reactor)
        self._send(["begin", settings])

    def _send(self, message: Message) -> None:
        if self._wire is not None:
            self._wire.send(message)

    def flush(self) -> None:
        """
        Send what it is to be told now.
        """
        if self._wire is not None:
            self._wire.flush()

    # Clients.

    @property
    def hasRoom(self) -> bool:
        """
        Whether it can get a client.
        """
        if self.state != "serving" or self._wire is None:
            return False
        left = self.pulse.descriptors
        return left is None or left >= FEW_DESCRIPTORS

    @property
    def burden(self) -> tuple[bool, int]:
        """
        What is compared to choose among workers; the least gets the next client.
        """
        isLate = self._clock.seconds() - self.pulse.heardAt > LATE
        return isLate, len(self.connections)

    @property
    def unsentCount(self) -> int:
        """
        Messages, most of them with a socket, that the kernel has not taken.
        """
        return 0 if self._wire is None else self._wire.waiting

    def serve(self, connection: Remote, isFlushed: bool = False) -> None:
        """
        Give it a client.

        @param isFlushed: whether L{flush} will be called.
        """
        client, connection.client = connection.client, None
        number = connection.connectionID
        self.connections[number] = connection
        connection.keeper = self
        if self.pulse.descriptors is not None:
            self.pulse.descriptors -= 1
        if self._wire is not None:
            self._wire.send(["serve", number, *connection.message], client, isFlushed)
        if connection.isDraining:
            self._send(["drain", number])

    def tell(self, connection: Remote, verb: str, cause: CloseReason | None = None) -> None:
        """
        Have something done to a connection.
        """
        self._send([verb, connection.connectionID, None if cause is None else cause.name])

    def open(self, port: list[Any]) -> None:
        """
        Tell it of a port.
        """
        self._send(["port", *port])

    def update(self, settings: dict[str, Any]) -> None:
        """
        Tell it of settings that have changed.
        """
        self._send(["update", settings])

    # Its end.

    def leave(self, deadline: float | None) -> None:
        """
        Let its connections end, and end with the last one.

        @param deadline: seconds until idle connections are closed, and the rest is aborted;
            L{None} for as long as they take.
        """
        self.state = "leaving"
        if self._departure is None:
            self._departure = Departure(self.connections, self._clock)
        self._departure.begin(deadline)
        self._stopIfEmpty()

    def _stopIfEmpty(self) -> None:
        if self.state == "leaving" and not self.connections and not self.isStopped:
            self.isStopped = True
            self._send(["stop"])

    def kill(self) -> None:
        """
        End it at once.
        """
        self.isKilled = True
        if self.state != "gone" and self.transport is not None:
            self.transport.signalProcess("KILL")

    # What it tells.

    def received(self, message: Message, descriptor: int | None) -> None:
        """
        See L{Correspondent<twisted_tcpdemo.workers.wire.Correspondent>}.
        """
        if descriptor is not None:
            os.close(descriptor)
        self.pulse.heardAt = self._clock.seconds()
        self._words[message[0]](*message[1:])

    def _ready(self) -> None:
        self.state = "serving"
        self.readyAt = self._clock.seconds()
        self._office.isReady(self)

    def _failed(self, why: str) -> None:
        self.why = why

    def _ended(self, number: int, reason: str, *counts: Any) -> None:
        connection = self.connections.pop(number, None)
        if connection is None:
            return
        if counts:
            self._told(connection, counts)
        elif reason == CloseReason.WORKER_LOST.name:
            self.pulse.descriptors = 0  # there was none for the socket
        connection.ended(CloseReason[reason])
        self._stopIfEmpty()

    def _counted(self, rows: list[list[Any]]) -> None:
        for number, *counts in rows:
            connection = self.connections.get(number)
            if connection is not None:
                self._told(connection, counts)

    def _told(self, connection: Remote, counts: Sequence[Any]) -> None:
        before = connection.transport
        self.bytesRead += counts[0] - before.bytesRead
        self.bytesWritten += counts[1] - before.bytesWritten
        connection.told(*counts)

    def _timed(self, rows: list[list[Any]]) -> None:
        for number, seconds in rows:
            connection = self.connections.get(number)
            if connection is not None:
                connection.transport.roundTripTime = seconds

    def _beat(self, lateness: float, cpuSeconds: float, descriptors: int | None) -> None:
        hadRoom = self.hasRoom
        self.pulse.beat(self._clock.seconds(), lateness, cpuSeconds, descriptors)
        if self.state == "serving" and not self.hasRoom and not self._wantsRoom:
            self._wantsRoom = True
            _log.warn(
                "worker {worker} (process {pid}) has no descriptors left; it gets no more clients "
                "until it has",
                worker=self.number,
                pid=self.pid,
            )
        elif self.hasRoom and not hadRoom:
            self._wantsRoom = False
            self._office.hasRoomAgain()

    def _logged(self, line: dict[str, Any]) -> None:
        self._office.said(self, line)

    # What the system tells.

    def wireLost(self) -> None:
        """
        Expect its end: it cannot be told anything any more.
        """
        if self._grace is None:
            self._grace = self._clock.callLater(GRACE, self.kill)

    def outReceived(self, data: bytes) -> None:
        """
        Log what it has printed before its log began, or past it.
        """
        for line in self._out.lines(data):
            self._office.said(self, line)

    def errReceived(self, data: bytes) -> None:
        """
        Log what it has printed before its log began, or past it.
        """
        for line in self._err.lines(data):
            self._office.said(self, line)

    def processExited(self, reason: Failure) -> None:
        """
        Strike its connections out, and give back the clients that it has not got.
        """
        wire, self._wire = self._wire, None
        if self._departure is not None:
            self._departure.end()
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        if wire is not None:
            wire.readRest()  # ends that it has told
            for message, client in wire.takeUnsent():
                connection = self.connections.pop(message[1], None)
                if connection is None:
                    client.close()
                else:
                    connection.giveBack(client)
                    self.unserved.append(connection)
            wire.close()
        self.state = "gone"
        number = getattr(reason.value, "signal", None)
        self.isOwnEnd = self.isKilled or number != signal.SIGKILL
        lost = list(self.connections.values())
        self.lostCount = len(lost)
        self.connections.clear()
        for connection in lost:
            connection.ended(CloseReason.WORKER_LOST)
        self._office.isGone(self, self.why or _endOf(reason))


def _endOf(reason: Failure) -> str:
    """
    How a process has ended.
    """
    error = reason.value
    if isinstance(error, ProcessTerminated) and error.signal is not None:
        return f"it was killed by signal {error.signal}"
    return f"it has ended with status {getattr(error, 'exitCode', 0)}"
