"""
Who may come in: pure rules, to which the time is passed in.

It may import values, errors and interfaces.
"""

from twisted_tcpdemo.admission.policy import Admission, wouldRefuseBy
from twisted_tcpdemo.admission.rate import PeerRate
from twisted_tcpdemo.admission.rules import AllowedNetworks, DeniedNetworks, PerPeerLimit, Rule
from twisted_tcpdemo.values.networks import Networks

__all__ = [
    "Admission",
    "AllowedNetworks",
    "DeniedNetworks",
    "Networks",
    "PeerRate",
    "PerPeerLimit",
    "Rule",
    "wouldRefuseBy",
]
