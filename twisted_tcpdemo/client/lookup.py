"""
The addresses of a name.  Each look-up ends, with addresses or with an error.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from itertools import chain, zip_longest

from twisted.internet._resolver import GAIResolver
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.client.names import Family
from twisted_tcpdemo.errors import NoAddressError
from twisted_tcpdemo.shapes import AnyReactor
from twisted_tcpdemo.values.addresses import IPAddress, canonicalAddress

_FAMILIES = {None: socket.AF_UNSPEC, IPv4Address: socket.AF_INET, IPv6Address: socket.AF_INET6}


def lookUp(
    reactor: AnyReactor, host: str, port: int, family: Family | None
) -> Deferred[list[IPAddress]]:
    """
    Look a name up with the resolver of a reactor.

    @param host: the name, in ASCII.
    @param family: the only family wanted; L{None} for both.
    @return: fires with the addresses, each once, in the order in which to try them.
        It fails with L{NoAddressError<twisted_tcpdemo.errors.NoAddressError>} if
        there are none, and for anything that went wrong.
    """
    resolver: IHostnameResolver = reactor.nameResolver
    found: Deferred[list[IPAddress]]
    if type(resolver) is GAIResolver:
        # Twisted's own loses every error but gaierror, and then never ends: the
        # system has said that no descriptor is free, for example.
        question = _Question(host, port, family)
        found = deferToThreadPool(reactor, reactor.getThreadPool(), question.ask)
        found.addErrback(question.withdraw)
    else:
        found = maybeDeferred(_askResolver, resolver, host, port, family)

    def needOne(answers: list[IPAddress]) -> list[IPAddress]:
        addresses = map(canonicalAddress, answers)
        # The resolver of an application need not know of families.
        wanted = inOrder(a for a in addresses if family in (None, type(a)))
        if not wanted:
            raise NoAddressError(host, family=_words(family))
        return wanted

    def explain(failure: Failure) -> list[IPAddress]:
        failure.trap(Exception)
        why = getattr(failure.value, "strerror", None) or str(failure.value)
        raise NoAddressError(host, why[:1].lower() + why[1:], _words(family)) from failure.value

    return found.addCallbacks(needOne, explain)


class _Question:
    """
    A question to the system.

    Of a slow system, more may be asked than it answers in time.  Those that nobody waits for
    any more, as they have been cancelled, are not asked.
    """

    def __init__(self, host: str, port: int, family: Family | None) -> None:
        self._words = host, port, _FAMILIES[family], socket.SOCK_STREAM
        self._isWithdrawn = False

    def withdraw(self, failure: Failure) -> Failure:
        """
        Do not ask, if it is not too late: the look-up has ended.
        """
        self._isWithdrawn = True
        return failure

    def ask(self) -> list[IPAddress]:
        """
        Ask the system; in a thread.
        """
        if self._isWithdrawn:
            return []
        return [
            (IPv4Address if kind == socket.AF_INET else IPv6Address)("TCP", *where)
            for kind, _, _, _, where in socket.getaddrinfo(*self._words)
            if kind in (socket.AF_INET, socket.AF_INET6)
        ]


def _askResolver(
    resolver: IHostnameResolver, host: str, port: int, family: Family | None
) -> Deferred[list[IPAddress]]:
    """
    Ask the resolver that the application has installed.
    """
    receiver = _Receiver()
    resolver.resolveHostName(receiver, host, port, None if family is None else [family])
    return receiver.found


@implementer(IResolutionReceiver)
class _Receiver:
    """
    Collects the addresses that a resolver finds.
    """

    def __init__(self) -> None:
        self.found: Deferred[list[IPAddress]] = Deferred()
        self._addresses: list[IPAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """
        Do nothing: Twisted's resolutions cannot be cancelled.
        """

    def addressResolved(self, address: IAddress) -> None:
        """
        Remember an address.
        """
        if isinstance(address, IPv4Address | IPv6Address):
            self._addresses.append(address)

    def resolutionComplete(self) -> None:
        """
        Fire.
        """
        if not self.found.called:
            self.found.callback(self._addresses)


def inOrder(addresses: Iterable[IPAddress]) -> list[IPAddress]:
    """
    Each address once, the two families in turn, that of the first address first
    (RFC 8305, section 4).
    """
    once = list({(type(a), a.host, a.port): a for a in addresses}.values())
    first = [a for a in once if type(a) is type(once[0])]
    others = [a for a in once if type(a) is not type(once[0])]
    pairs = chain.from_iterable(zip_longest(first, others))
    return [a for a in pairs if a is not None]


def _words(family: Family | None) -> str:
    return "" if family is None else family.__name__.removesuffix("Address")
