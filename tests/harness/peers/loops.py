"""
asyncio's own loop and uvloop: C{python -m tests.harness.peers.loops WISHES LOOP}.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, ClassVar

from tests.harness.clients import RESET
from tests.harness.peers.entry import Entry


class Attacked(asyncio.Protocol):
    """
    The program, with a limit, timers and back-pressure.
    """

    living: ClassVar[set[Any]] = set()

    def __init__(self, wanted: Any, answer: Any) -> None:
        self.wanted = wanted
        self.answer = answer
        self.loop = asyncio.get_running_loop()
        self.timers: list[Any] = []
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """
        Take a slot, or send the client away.
        """
        self.transport = transport
        if len(self.living) >= self.wanted.limit:
            if self.wanted.overflow == "reset":
                import socket

                raw = transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.close()
            return
        self.living.add(self)
        self.timers = [self.loop.call_later(self.wanted.lifetime, transport.abort)]
        self._within(self.wanted.firstByte)

    def _within(self, seconds: float) -> None:
        for timer in self.timers[1:]:
            timer.cancel()
        self.timers[1:] = [self.loop.call_later(seconds, self.transport.abort)]

    def data_received(self, data: bytes) -> None:
        """
        Answer.
        """
        if self in self.living:
            self._within(self.wanted.idle)
            self.transport.write(self.answer(data))

    def pause_writing(self) -> None:
        """
        Read no more.
        """
        self.transport.pause_reading()
        self._within(self.wanted.stall)

    def resume_writing(self) -> None:
        """
        Read on.
        """
        self.transport.resume_reading()
        self._within(self.wanted.idle)

    def connection_lost(self, error: Exception | None) -> None:
        """
        Give the slot back.
        """
        self.living.discard(self)
        for timer in self.timers:
            timer.cancel()


async def serve(entry: Entry) -> None:
    """
    Serve until the signal.
    """
    from tests.harness.peers.program import answer

    wanted, loop = entry.wanted, asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(entry.probe.answer(line))

    await asyncio.start_unix_server(tell, wanted.probe)
    server = await loop.create_server(
        lambda: Attacked(wanted, answer), "127.0.0.1", 0, backlog=4096
    )
    entry.probe.calls = lambda: len(getattr(loop, "_scheduled", ()))
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    server.close()
    for protocol in list(Attacked.living):
        protocol.transport.close()
    end = loop.time() + wanted.drain
    while Attacked.living and loop.time() < end:
        await asyncio.sleep(0.02)
    for protocol in list(Attacked.living):
        protocol.transport.abort()
    while Attacked.living:
        await asyncio.sleep(0.02)


def main(entry: Entry, loop: str) -> None:
    """
    Run it.
    """
    if loop == "uvloop":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve(entry))


if __name__ == "__main__":
    main(Entry(sys.argv[1]), sys.argv[2])
