"""
Several processes behind one door.

The parent listens, accepts and decides, with the one factory.  Then it hands the socket
itself to the worker with the fewest connections.  The worker runs TLS and the protocol,
and tells of counts and ends.  Nothing is shared in memory.

It may import server, and all below it.
"""

from twisted_tcpdemo.workers.program import ProgramError

__all__ = ["ProgramError"]
