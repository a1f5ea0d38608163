"""
What a factory offers the port that accepts for it.

A factory may be wrapped in another one, as by Twisted's layers of TLS and of policies.
"""

from __future__ import annotations

from typing import Any

from twisted_tcpdemo.interfaces import IHandOver, IHeldClients


def accountOf(factory: Any) -> IHeldClients | None:
    """
    The account of a factory, or of the one that it wraps; L{None} if it has none.
    """
    while factory is not None:
        account: IHeldClients | None = _offered(factory, "heldClients", IHeldClients)
        if account is not None:
            return account
        factory = getattr(factory, "wrappedFactory", None)
    return None


def handOverOf(factory: object) -> IHandOver | None:
    """
    What takes the clients of a factory into other processes; L{None} if nothing does.

    That of a factory which another one wraps is of no use: the client needs the wrapper's
    protocol, and that is here.
    """
    offered: IHandOver | None = _offered(factory, "handOver", IHandOver)
    return offered


def _offered(factory: object, name: str, interface: Any) -> Any:
    """
    What a factory offers a port by an attribute; L{None} if it is nothing of the kind.
    """
    offered = getattr(factory, name, None)
    return offered if interface.providedBy(offered) else None
