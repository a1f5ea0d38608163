"""
A calculator of sums, with a time for each line.
"""

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import react

from twisted_tcpdemo import TCPDemoFactory
from twisted_tcpdemo.errors import EndOfStreamError

PATIENCE = 10.0


async def add(stream):
    from twisted.internet import reactor

    total = 0
    try:
        while not stream.draining:
            line = await stream.readLine(limit=100).addTimeout(PATIENCE, reactor)
            total += int(line)
            await stream.write(f"{total}\n")
    except TimeoutError:
        await stream.write("too slow\n")
    except ValueError as error:  # a line that is too long is one, too
        await stream.write(f"{error}\n")
    except EndOfStreamError:
        print(f"the sum for {stream.remoteAddress} was {total}")


async def main(reactor):
    factory = TCPDemoFactory.forHandler(add, maxConnections=100)
    await factory.listen("fasttcp:18001:interface=127.0.0.1")
    print("listening on", factory.address(), flush=True)
    await Deferred()


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
