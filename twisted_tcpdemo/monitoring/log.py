"""
The log of a server: every event in a line.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_tcpdemo.interfaces import IConnectionObserver
from twisted_tcpdemo.monitoring.logbudget import UNBOUNDED, LogBudget
from twisted_tcpdemo.server.factory import TCPDemoFactory
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.failures import LONGEST_MESSAGE, kindOf
from twisted_tcpdemo.values.report import (
    Addresses,
    CloseReason,
    ConnectionReport,
    Refusal,
    WatermarkCrossing,
)
from twisted_tcpdemo.values.text import printable

_log = Logger(namespace="tcpdemo")

PROBE_SHARE: Final = 0.1
"""The share of the budget up to which health checks have lines of their own."""

MOST_PROBERS: Final = 64
"""Addresses of health checks that are known."""


@implementer(IConnectionObserver)
class LoggingObserver:
    """
    Writes every event of a factory to the log, with its facts as fields, within a
    budget of lines.
    """

    def __init__(self, factory: TCPDemoFactory, budget: LogBudget = UNBOUNDED) -> None:
        """
        @param factory: the factory, whose count and limit are in the lines.
        @param budget: the budget of lines about connections.
        """
        self._factory = factory
        self._budget = budget
        self._probers: dict[str | None, None] = {}

    def listening(self, address: IAddress) -> None:
        """
        See L{IConnectionObserver}.
        """
        where = endpointOf(address)
        _log.info(
            "listening on {where} ({family})",
            event="listening",
            where=str(where),
            **where._asdict(),
        )

    def listeningStopped(self, address: IAddress) -> None:
        """
        See L{IConnectionObserver}.
        """
        where = endpointOf(address)
        _log.info(
            "no longer listening on {where}",
            event="listeningStopped",
            where=str(where),
            **where._asdict(),
        )
        self._flushAtRest()

    def connectionOpened(self, report: ConnectionReport) -> None:
        """
        See L{IConnectionObserver}.
        """
        share = PROBE_SHARE if report.remote.address in self._probers else 1.0
        if not self._budget.shows("connections", share=share):
            return
        limit = self._factory.effectiveLimit
        cause = "" if limit == self._factory.maxConnections else " (descriptors)"
        _log.info(
            "connection {connectionID}: {remote} ({remoteFamily}) to {local}; "
            "{connectionCount} connected, " + _said(limit) + cause,
            event="connection",
            connectionID=report.connectionID,
            connectionCount=self._factory.connectionCount,
            limit=limit,
            **_fields(report),
        )

    def connectionRefused(self, refusal: Refusal) -> None:
        """
        See L{IConnectionObserver}.
        """
        if not self._budget.shows("refused"):
            return
        because = ": {detail}" if refusal.detail else ""
        _log.info(
            "refused: {remote} ({remoteFamily}) to {local}, by {rule}" + because,
            event="refused",
            rule=refusal.rule,
            detail=refusal.detail,
            **_fields(refusal),
        )

    def connectionClosed(self, report: ConnectionReport) -> None:
        """
        See L{IConnectionObserver}.
        """
        assert report.closeReason is not None
        isProbe = report.closeReason is CloseReason.PROBE
        self._know(report.remote.address, isProbe)
        what, share = ("probes", PROBE_SHARE) if isProbe else ("closed", 1.0)
        if not self._budget.shows(what, report.bytesRead, report.bytesWritten, share):
            self._flushAtRest()
            return
        _log.info(
            "close {connectionID}: {reason} after {duration:.3f} s; {bytesRead} bytes read, "
            "{bytesWritten} written, {bytesPending} unsent; {remote}",
            event="close",
            connectionID=report.connectionID,
            reason=report.closeReason.value,
            duration=report.age,
            bytesRead=report.bytesRead,
            bytesWritten=report.bytesWritten,
            bytesPending=report.bytesPending,
            **_fields(report),
        )

    def watermarkCrossed(self, crossing: WatermarkCrossing) -> None:
        """
        See L{IConnectionObserver}.
        """
        change = "reached" if crossing.above else "fell below"
        _log.warn(
            change
            + " {percent:.0f} % of the limit: {connectionCount} connected, "
            + _said(crossing.limit),
            event="watermark",
            percent=100 * crossing.fraction,
            fraction=crossing.fraction,
            above=crossing.above,
            connectionCount=crossing.connectionCount,
            limit=crossing.limit,
        )

    def serverError(self, failure: Failure) -> None:
        """
        See L{IConnectionObserver}.
        """
        if self._budget.isNew(kindOf(failure)) or self._budget.shows("errors"):
            reason = printable(failure.getErrorMessage(), LONGEST_MESSAGE)
            _log.error("error: {reason}", event="error", reason=reason)

    def _know(self, address: str | None, isProbe: bool) -> None:
        """
        Remember whether a client has last been a health check: its next connection is
        likely to be one.
        """
        self._probers.pop(address, None)
        if isProbe:
            if len(self._probers) >= MOST_PROBERS:
                del self._probers[next(iter(self._probers))]
            self._probers[address] = None

    def _flushAtRest(self) -> None:
        """
        Write the last summary when the server is at rest.
        """
        if not self._factory.listening and not self._factory.connectionCount:
            self._budget.flush()


def _said(limit: int | None) -> str:
    """
    The format of a limit.  Its field stays a number.
    """
    return "no limit" if limit is None else "limit {limit}"


def _fields(ends: Addresses) -> dict[str, object]:
    """
    The fields of both ends, for people and for programs.
    """
    local, remote = ends.local, ends.remote
    return {
        "local": str(local),
        "localAddress": local.address,
        "localPort": local.port,
        "localFamily": local.family,
        "remote": str(remote),
        "remoteAddress": remote.address,
        "remotePort": remote.port,
        "remoteFamily": remote.family,
    }
