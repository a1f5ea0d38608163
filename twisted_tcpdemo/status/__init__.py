"""
The status page: a view of a running server, for people, programs and
load balancers.

It may import monitoring, service, and all below them, and twisted.web; so it is
imported only when a status page is asked for.
"""

from twisted_tcpdemo.status.service import StatusService
from twisted_tcpdemo.status.site import StatusSite

__all__ = ["StatusService", "StatusSite"]
