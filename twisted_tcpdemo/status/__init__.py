"""
The status page: what a person, a program and a load balancer can see of a
running server.  It is read-only.

It may import monitoring, service, and all below them, and twisted.web; so it is
imported only when it is asked for.
"""

from twisted_tcpdemo.status.service import StatusService
from twisted_tcpdemo.status.site import StatusSite

__all__ = ["StatusService", "StatusSite"]
