"""
A chat: each line goes to everybody else.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_tcpdemo import TCPDemoFactory

MOST_PENDING = 1_000_000

guests: dict[Any, str] = {}


def tell(text, author):
    for guest in list(guests):
        if guest is author:
            continue
        guest.write(text)  # nobody waits for a slow guest
        if guest.bytesPending > MOST_PENDING:
            guest.abort()


async def chat(stream):
    await stream.write("your name?\n")
    name = (await stream.readLine(limit=40)).decode(errors="replace")
    guests[stream] = name
    tell(f"{name} is here\n", stream)
    try:
        async for line in stream.lines(limit=1000):
            tell(f"{name}: {line.decode(errors='replace')}\n", stream)
    finally:
        del guests[stream]
        tell(f"{name} has left\n", stream)


async def main(reactor):
    factory = TCPDemoFactory.forHandler(chat, maxConnections=100)
    await factory.listen("fasttcp:18001:interface=127.0.0.1")
    print("listening on", factory.address(), flush=True)
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
