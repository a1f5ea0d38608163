"""
Plain values: addresses, reports, budgets, printable text, checks of arguments.

Nothing of ours is imported here.
"""

from twisted_tcpdemo.values.addresses import Endpoint, endpointOf
from twisted_tcpdemo.values.budgets import Budgets
from twisted_tcpdemo.values.report import (
    CloseReason,
    ConnectionReport,
    DrainReport,
    Refusal,
    ServerReport,
    TCPInfo,
    WatermarkCrossing,
)
from twisted_tcpdemo.values.text import printable

__all__ = [
    "Budgets",
    "CloseReason",
    "ConnectionReport",
    "DrainReport",
    "Endpoint",
    "Refusal",
    "ServerReport",
    "TCPInfo",
    "WatermarkCrossing",
    "endpointOf",
    "printable",
]
