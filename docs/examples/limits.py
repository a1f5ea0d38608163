"""
A server with a limit, an idle timeout, events and a drain.
"""

from twisted.internet.task import deferLater, react

from twisted_tcpdemo import Budgets, ConnectionObserver, ServerEndpoint, TCPDemoFactory
from twisted_tcpdemo.twistd import Echo


class Printing(ConnectionObserver):
    def connectionOpened(self, report):
        print("open", report.connectionID, report.remote, flush=True)

    def connectionRefused(self, refusal):
        print("refused", refusal.remote, "by", refusal.rule, flush=True)

    def connectionClosed(self, report):
        assert report.closeReason is not None  # it has ended
        print("close", report.connectionID, report.closeReason.value, report.bytesRead, flush=True)


async def main(reactor):
    factory = TCPDemoFactory(
        Echo,
        maxConnections=1,
        refusalMessage=b"full, try again later\n",
        budgets=Budgets(idle=60, writeStall=30),
    )
    factory.addObserver(Printing())
    await factory.listen(ServerEndpoint(reactor, 18001, "127.0.0.1"))
    print("listening on", factory.address(), flush=True)

    await deferLater(reactor, 1.0, lambda: None)  # serve for a while

    report = await factory.drain(deadline=5)
    print("drained:", report.finished, "finished,", report.aborted, "aborted", flush=True)


react(main)
