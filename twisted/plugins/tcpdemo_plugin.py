"""
The plugins that Twisted finds: the C{tcpdemo} subcommand of C{twistd} and C{twist},
and the C{fasttcp:} string of server endpoints.

Every C{twistd} command imports this file, so it imports none of our modules.
"""

from typing import Any

from twisted.application.service import ServiceMaker
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamServerEndpointStringParser)
class FastTCP:
    """
    The parser of C{fasttcp:} strings.
    """

    prefix = "fasttcp"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> Any:
        """
        See L{twisted_tcpdemo.fast.endpoint.parse}.
        """
        from twisted_tcpdemo.fast.endpoint import parse

        return parse(reactor, *args, **kwargs)


tcpdemo = ServiceMaker(
    "twisted-tcpdemo",
    "twisted_tcpdemo.twistd.tap",
    "A TCP server that reports who connects, from where, and how many bytes.",
    "tcpdemo",
)

fasttcp = FastTCP()
