"""
A server in a program of its own, whose log no client can flood: its protocol raises.
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver

from twisted_tcpdemo import TCPDemoFactory, TCPDemoProtocol
from twisted_tcpdemo.monitoring import LogBudget, LoggingObserver, guardedLog


class Adding(TCPDemoProtocol):
    def dataReceived(self, data):
        self.transport.write(b"%d\n" % sum(map(int, data.split())))


async def main(reactor):
    budget = LogBudget(100)
    log = guardedLog(textFileLogObserver(sys.stdout), budget)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
    factory = TCPDemoFactory(Adding)
    factory.addObserver(LoggingObserver(factory, budget))
    await factory.listen("tcp:18001:interface=127.0.0.1")
    await Deferred()


react(main)
