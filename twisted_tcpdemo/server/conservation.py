"""
A check that a server's accounts add up, for tests and debugging.
"""

from __future__ import annotations

from twisted_tcpdemo.server.gate import Gate
from twisted_tcpdemo.server.ledger import Ledger


class Conservation:
    """
    Checks that no connection is lost or counted twice.  Each accepted connection
    is open or closed, each closed one has a reason, each refusal has a rule, and
    every byte belongs to a connection.
    """

    def __init__(self, ledger: Ledger, gate: Gate) -> None:
        self._ledger = ledger
        self._gate = gate
        self._bytes = (0, 0)

    def violations(self) -> list[str]:
        """
        Compare the accounts, and the bytes with those of the call before.

        @return: a sentence for each law that does not hold; empty if all do.
        """
        ledger = self._ledger
        totals = (ledger.bytesRead, ledger.bytesWritten)
        before, self._bytes = self._bytes, totals
        over = sum(connection.closeReason is not None for connection in ledger.open)
        strangers = sum(connection not in ledger.open for connection in self._gate.inside)
        equations = {
            "accepted is open and closed": (ledger.accepted, len(ledger.open) + ledger.closed),
            "closed is the sum over reasons": (ledger.closed, sum(ledger.closedBy.values())),
            "refused is the sum over rules": (ledger.refused, sum(ledger.refusedBy.values())),
            "bytes never fall": (tuple(map(max, totals, before)), totals),
            "none that is over is open": (0, over),
            "none that is over is counted by the policy": (0, strangers),
        }
        return [f"{law}: {a} and {b}" for law, (a, b) in equations.items() if a != b]
