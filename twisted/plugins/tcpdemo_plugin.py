"""
What Twisted finds: the C{tcpdemo} subcommand of C{twistd} and C{twist}.

Every C{twistd} command imports this file, so it imports nothing of ours.
"""

from twisted.application.service import ServiceMaker

tcpdemo = ServiceMaker(
    "twisted-tcpdemo",
    "twisted_tcpdemo.tap",
    "A TCP server that reports who connects, from where, and how many bytes.",
    "tcpdemo",
)
