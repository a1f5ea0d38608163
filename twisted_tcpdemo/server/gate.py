"""
The gate between a factory and its admission policy, which may be anybody's code.

A policy counts connections.  Its counts are right only if each connection leaves
it once, by the address by which it came: also when another policy is in force
by then, or a PROXY header has changed the address.  The gate remembers both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from twisted_tcpdemo.connection.record import Connection
from twisted_tcpdemo.interfaces import IAdmissionPolicy
from twisted_tcpdemo.shapes import AdmissionPolicy

FAILED: Final = "admissionFailed"
"""The rule that refuses a connection when the policy raises."""

_log = Logger(namespace="tcpdemo")


class Gate:
    """
    Asks a policy, if there is one.  What the policy raises is logged.

    @ivar policy: the policy in force, which only L{install} changes; L{None}: every
        connection may come in.
    """

    def __init__(self) -> None:
        self.policy: AdmissionPolicy | None = None
        self._inside: dict[Connection, tuple[AdmissionPolicy, IAddress]] = {}

    @property
    def inside(self) -> Collection[Connection]:
        """
        The connections that a policy counts.
        """
        return self._inside

    def install(self, policy: AdmissionPolicy | None, connections: Iterable[Connection]) -> None:
        """
        Put another policy in force.

        @param connections: the open connections, which the new policy counts.
        @raise TypeError: if it does not provide L{IAdmissionPolicy}.
        """
        if policy is not None and not IAdmissionPolicy.providedBy(policy):
            raise TypeError(f"{policy!r} does not provide IAdmissionPolicy")
        for connection in list(self._inside):
            self.leave(connection)
        self.policy = policy
        if policy is not None:
            for connection in connections:
                peer = connection.peer
                try:
                    policy.adopted(peer)
                except BaseException:
                    _complain(policy, "adopted")
                else:
                    self._inside[connection] = policy, peer

    def enter(self, connection: Connection, now: float) -> str | None:
        """
        Let a connection in, unless a rule refuses it.

        @return: the name of the rule that refuses it, or L{None}.
        """
        policy = self.policy
        if policy is None:
            return None
        host, peer = connection.host, connection.peer
        try:
            rule = policy.decide(host, peer, now)
            if rule is None:
                policy.opened(host, peer, now)
        except BaseException:
            _complain(policy, "decide or opened")
            return FAILED
        if rule is None:
            self._inside[connection] = policy, peer
        return rule

    def leave(self, connection: Connection) -> None:
        """
        Give a connection that is over back to its policy.  Nothing happens if
        no policy counts it.
        """
        if connection not in self._inside:
            return
        policy, peer = self._inside.pop(connection)
        try:
            policy.closed(peer)
        except BaseException:
            _complain(policy, "closed")


def _complain(policy: AdmissionPolicy, method: str) -> None:
    _log.failure("admission policy {policy} raised in {method}", policy=policy, method=method)
