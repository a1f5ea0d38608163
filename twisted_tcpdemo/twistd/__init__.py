"""
The command C{twistd tcpdemo}: its options, the objects built from them, and the
small servers for C{--protocol}.

It may import everything but the command line client; status and control only
when they are asked for.
"""

from twisted_tcpdemo.twistd.options import Options
from twisted_tcpdemo.twistd.programs import Discard, Echo, ReportProtocol
from twisted_tcpdemo.twistd.tap import makeService

__all__ = ["Discard", "Echo", "Options", "ReportProtocol", "makeService"]
