"""
What is told of a server: its log and the budget of that, its figures for
Prometheus, its state as plain values.

It may import server, client, and all below them.  L{collectorFor} needs the
extra C{metrics}, and is imported when it is first asked for.
"""

from typing import TYPE_CHECKING

from twisted_tcpdemo.monitoring.guard import guardedLog
from twisted_tcpdemo.monitoring.log import LoggingObserver
from twisted_tcpdemo.monitoring.logbudget import LogBudget
from twisted_tcpdemo.monitoring.logfiles import boundedFile, boundedLog

if TYPE_CHECKING:
    from twisted_tcpdemo.monitoring.metrics import collectorFor

__all__ = [
    "LogBudget",
    "LoggingObserver",
    "boundedFile",
    "boundedLog",
    "collectorFor",
    "guardedLog",
]


def __getattr__(name: str) -> object:
    if name != "collectorFor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from twisted_tcpdemo.monitoring.metrics import collectorFor

    return collectorFor
