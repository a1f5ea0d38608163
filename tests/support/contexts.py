"""
Contexts of TLS, of Twisted's and of the standard library's.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
)

from tests.support.certificates import pemFile


class TwistedContexts:
    """
    Contexts of Twisted's, for pyOpenSSL.
    """

    @staticmethod
    def server(
        *, alpn: Sequence[str] = (), asks: bool = False, version: str = "", pem: Path | None = None
    ) -> Any:
        """
        The context of a server.

        @param alpn: the application protocols that it speaks.
        @param asks: whether it demands a certificate of its clients.
        @param version: the only version of TLS, such as C{"1.3"}.
        @param pem: the file with its key and certificate.
        """
        own = PrivateCertificate.loadPEM((pem or pemFile()).read_bytes())
        given = _options(version)
        if asks:
            given["trustRoot"] = Certificate.loadPEM(pemFile().read_bytes())
        return CertificateOptions(
            own.privateKey.original,
            own.original,
            acceptableProtocols=_words(alpn),
            **given,
        )

    @staticmethod
    def client(
        *,
        alpn: Sequence[str] = (),
        shows: bool = False,
        version: str = "",
        trusts: Path | None = None,
        name: str = "localhost",
    ) -> Any:
        """
        The context of a client.

        @param shows: whether it has a certificate.
        @param trusts: the file with the certificate that it trusts.
        @param name: the name that it expects.
        """
        own = PrivateCertificate.loadPEM(pemFile().read_bytes())
        trusted = Certificate.loadPEM((trusts or pemFile()).read_bytes())
        return optionsForClientTLS(
            name,
            trusted,
            own if shows else None,
            acceptableProtocols=_words(alpn),
            extraCertificateOptions=_options(version),
        )

    @staticmethod
    def named(chosen: dict[str, Any]) -> Any:
        """
        The context of a server that has a context for each name that clients ask
        for.
        """
        options = TwistedContexts.server()

        def choose(connection: Any) -> None:
            name = (connection.get_servername() or b"").decode()
            if name in chosen:
                connection.set_context(chosen[name].getContext())

        options.getContext().set_tlsext_servername_callback(choose)
        return options


def _words(alpn: Sequence[str]) -> list[bytes] | None:
    return [word.encode() for word in alpn] or None


def _options(version: str) -> dict[str, Any]:
    """
    Options of C{CertificateOptions} for one version of TLS alone.
    """
    if not version:
        return {}
    only = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}[version]
    return {"insecurelyLowerMinimumTo": only, "lowerMaximumSecurityTo": only}


class PythonContexts:
    """
    Contexts of the standard library's.
    """

    @staticmethod
    def server(
        *, alpn: Sequence[str] = (), asks: bool = False, version: str = "", pem: Path | None = None
    ) -> ssl.SSLContext:
        """
        See L{TwistedContexts.server}.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem or pemFile())
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(pemFile())
        return _limited(context, alpn, version)

    @staticmethod
    def client(
        *,
        alpn: Sequence[str] = (),
        shows: bool = False,
        version: str = "",
        trusts: Path | None = None,
        name: str = "localhost",
    ) -> ssl.SSLContext:
        """
        See L{TwistedContexts.client}.  The name is that of the endpoint, which
        must be a name or an address in the certificate.
        """
        context = ssl.create_default_context(cafile=str(trusts or pemFile()))
        if shows:
            context.load_cert_chain(pemFile())
        return _limited(context, alpn, version)

    @staticmethod
    def named(chosen: dict[str, Any]) -> ssl.SSLContext:
        """
        See L{TwistedContexts.named}.
        """
        context = PythonContexts.server()

        def choose(connection: Any, name: str | None, _: ssl.SSLContext) -> None:
            connection.context = chosen.get(name or "", context)

        context.sni_callback = choose
        return context


def _limited(context: ssl.SSLContext, alpn: Sequence[str], version: str) -> ssl.SSLContext:
    """
    Set what both sides have in common.
    """
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version:
        only = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
        context.minimum_version = context.maximum_version = only
    return context


CONTEXTS: dict[str, Any] = {"CertificateOptions": TwistedContexts, "SSLContext": PythonContexts}
"""The two kinds of contexts, by the name of the class."""

everyContext = pytest.mark.parametrize("contexts", CONTEXTS.values(), ids=CONTEXTS)
