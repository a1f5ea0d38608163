"""
What is said of a connection.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.cli import HOSTILE
from twisted_tcpdemo.cli.showing import telling
from twisted_tcpdemo.cli.showing.telling import secured


class Handle:
    """
    The part of pyOpenSSL's connection that is asked.
    """

    def get_protocol_version_name(self) -> str:
        """
        The version.
        """
        return "TLSv1.3"

    def get_cipher_name(self) -> str:
        """
        The cipher.
        """
        return "SOME_CIPHER"


def test_openSSL() -> None:
    """
    Of a connection with TLS by pyOpenSSL version and cipher are told.
    """
    assert secured(SimpleNamespace(getHandle=Handle)) == "TLSv1.3, SOME_CIPHER"


def test_hostileCertificate() -> None:
    """
    What an authority has certified is shown with escapes.
    """
    name = ((("organizationName", "x"),), (("commonName", HOSTILE),))
    verified = {"subject": name, "issuer": name[:1], "notAfter": HOSTILE}
    words = telling.certificateWords(verified, b"")
    assert words.isprintable() and r"certificate of \x1b]0;owned" in words and "by x, " in words
    odd = telling.certificateWords({"subject": HOSTILE, "issuer": ()}, b"")
    assert odd.isprintable()


@pytest.mark.parametrize(("encoded", "words"), [(None, "no certificate"), (b"x", "SHA-256 2d711")])
def test_unverified(encoded: bytes | None, words: str) -> None:
    """
    A certificate that nobody has verified is named by its digest alone.
    """
    assert words in telling.certificateWords({}, encoded)
