"""
Steering a server while it runs: JSON over HTTP, on a UNIX socket.

  - L{access<twisted_tcpdemo.control.access>}: where it listens, who may ask,
    and who has asked.
  - L{values<twisted_tcpdemo.control.values>}: what may be asked, checked before
    anything is changed.
  - L{routes<twisted_tcpdemo.control.routes>}: one method for each route; what
    it answers is in L{plain<twisted_tcpdemo.plain>}.
  - L{start<twisted_tcpdemo.control.start>}: what C{--control} asks for.

It is imported only when it is asked for: a server without it does not load
twisted.web.
"""

from twisted_tcpdemo.control.start import companionFor

__all__ = ["companionFor"]
