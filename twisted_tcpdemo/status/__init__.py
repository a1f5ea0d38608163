"""
The status page: what a person, a program and a load balancer can see of a
running server.  It is read-only, and is imported only when it is asked for.

  - L{service<twisted_tcpdemo.status.service>}: listens for it.
  - L{site<twisted_tcpdemo.status.site>}: its pages, and what keeps strangers
    and hostile pages out.
  - L{snapshot<twisted_tcpdemo.status.snapshot>}: the server at one moment, as
    data.
  - L{history<twisted_tcpdemo.status.history>}: its last minutes, while somebody
    looks.
"""

from twisted_tcpdemo.status.service import StatusService
from twisted_tcpdemo.status.site import StatusSite

__all__ = ["StatusService", "StatusSite"]
