"""
Where counting begins: before a C{makeConnection} that need not call C{super()}.

A connection is counted and limited from L{TCPDemoProtocol.makeConnection
<twisted_tcpdemo.TCPDemoProtocol.makeConnection>} on.  A class that is mixed in may stand
before that and call nobody's, as Twisted's C{AMP} does.  So the class of each protocol has
a C{makeConnection} by which counting begins, whatever comes behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias, TypeVar

from twisted.internet.interfaces import ITransport

Making: TypeAlias = Callable[[Any, ITransport], None]
"""A C{makeConnection}, as it stands in a class."""

M = TypeVar("M", bound=Callable[..., None])

_MARK = "_beginsToCount"


def begins(make: M) -> M:
    """
    Mark a C{makeConnection} that always calls that of C{TCPDemoProtocol}, or is it.
    """
    setattr(make, _MARK, True)
    return make


def isBeginning(make: Making) -> bool:
    """
    Whether counting begins by a C{makeConnection}, for sure.
    """
    return hasattr(make, _MARK)


def beginsFirst(make: Making) -> Making:
    """
    A C{makeConnection} that begins to count, and then calls another one, which may begin
    once more: the record of a socket goes on.
    """

    @begins
    @wraps(make)
    def makeConnection(self: Any, transport: ITransport) -> None:
        if self._beginRecord(transport):
            try:
                make(self, transport)
            except BaseException:
                self._abortRecord()
                raise

    return makeConnection
