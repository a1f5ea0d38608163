"""
The former place of L{boundedLog<twisted_tcpdemo.monitoring.boundedLog>}, which
unit files still name.
"""

from __future__ import annotations

from warnings import warn

from twisted.logger import ILogObserver

from twisted_tcpdemo import monitoring


def boundedLog() -> ILogObserver:
    """
    Go on as before, and say where it is.
    """
    warn(
        "--logger=twisted_tcpdemo.logbudget.boundedLog has moved: "
        "say --logger=twisted_tcpdemo.monitoring.boundedLog",
        FutureWarning,
        stacklevel=2,
    )
    return monitoring.boundedLog()
