"""
Connect with TLS and look at the certificate: python client_tls.py HOST PORT [CA_FILE]
"""

import sys
from pathlib import Path
from typing import cast

from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import react

from twisted_tcpdemo import ClientEndpoint, TCPDemoProtocol
from twisted_tcpdemo.shapes import TLSTransport


async def main(reactor, host, port, authority=None):
    trusted = None  # the authorities that the system trusts
    if authority is not None:
        trusted = Certificate.loadPEM(Path(authority).read_bytes())
    tls = optionsForClientTLS(host, trustRoot=trusted)
    endpoint = ClientEndpoint(reactor, host, int(port), tls=tls)
    try:
        client = await endpoint.connectProtocol(TCPDemoProtocol())
    except Exception as error:
        raise SystemExit(f"not connected: {error}") from None
    transport = cast(TLSTransport, client.transport)  # for type checkers
    certificate = transport.getPeerCertificate().to_cryptography()
    print("the certificate is of", certificate.subject.rfc4514_string())
    client.transport.abortConnection()


react(main, sys.argv[1:])
