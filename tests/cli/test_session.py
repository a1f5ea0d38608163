"""
What is said of a failure.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from socket import gaierror

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
)

from tests.support.cli import client, ended, unanswered
from tests.support.clients import installedReactor
from twisted_tcpdemo.cli.outcome import Outcome
from twisted_tcpdemo.cli.session import clientReactor, explained
from twisted_tcpdemo.client.failures import failed
from twisted_tcpdemo.errors import NoAddressError


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionRefusedError(111), Outcome.REFUSED),
        (ConnectError(2), Outcome.REFUSED),
        (TCPTimedOutError(), Outcome.TIMED_OUT),
        (CancelledError(), Outcome.TIMED_OUT),
        (DNSLookupError(), Outcome.NO_SUCH_NAME),
        (DNSLookupError("odd \x1b"), Outcome.NO_SUCH_NAME),
        (NoAddressError("example.test", "odd \x1b"), Outcome.NO_SUCH_NAME),
        (NoRouteError(), Outcome.UNREACHABLE),
        (ConnectError(101), Outcome.UNREACHABLE),
        (ConnectionLost(), Outcome.RESET),
        (ConnectError(13), Outcome.FAILED),
        (ValueError("odd \x1b"), Outcome.FAILED),
        (ValueError(), Outcome.FAILED),
    ],
)
def test_explained(error: BaseException, outcome: Outcome) -> None:
    """
    Each failure to connect has its status, and words that are safe to print.
    """
    found, why = explained(error)
    assert found == outcome
    assert why and why.isprintable()


def test_untrusted() -> None:
    """
    An untrusted certificate has its own status.
    """
    from OpenSSL.SSL import Error

    assert explained(Error([("SSL", "", "certificate verify failed")]))[0] == Outcome.TLS_FAILED


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoAddressError("x.test", "temporary failure in name resolution"),
         "temporary failure in name resolution"),
        (NoAddressError("x.test"), "no address was found for x.test"),
        (NoAddressError("x.test", family="IPv6"), "no IPv6 address was found for x.test"),
        (DNSLookupError("nothing known"), "nothing known"),
        (DNSLookupError(), "the name has no address"),
        (failed("[::1%nope]:80", gaierror(-2, "Name or service not known")),
         "connection to [::1%nope]:80 failed: there is no network interface of this name"),
    ],
)  # fmt: skip
def test_resolversWords(error: BaseException, words: str) -> None:
    """
    What the resolver said of a name is told.
    """
    assert explained(error)[1] == words


def test_tlsWords() -> None:
    """
    What the standard library says of TLS is a sentence, and safe to print.
    """
    untrusted = ssl.SSLCertVerificationError(1, "odd \x1b")
    untrusted.verify_message = "Self-signed \x1b certificate."
    outcome, why = explained(untrusted)
    assert outcome is Outcome.TLS_FAILED and why.isprintable()
    assert why.startswith("TLS: the certificate is not trusted: self-signed ")
    other = ssl.SSLError(1, "odd \x1b")
    assert explained(other)[1].isprintable()
    other.reason = "WRONG_VERSION_NUMBER"
    assert explained(other) == (Outcome.TLS_FAILED, "TLS: wrong version number")


def test_anotherName() -> None:
    """
    A certificate for another name is one that is not trusted.
    """
    from service_identity import VerificationError

    found = explained(VerificationError(errors=[]))
    assert found == (
        Outcome.TLS_FAILED,
        "TLS: the certificate is not trusted: it is for another name",
    )


@pytest.mark.deadline(30)
@pytest.mark.parametrize("command", ["connect", "load"])
async def test_slowResolver(command: str, tmp_path: Path) -> None:
    """
    A command ends in its time, though the system never answers a look-up.
    """
    where = "slow.test", 80, "--timeout", "0.3"
    async with client(command, *where, via=unanswered(tmp_path)) as child:
        status, out, err = await ended(child)
    assert (status, out) == (Outcome.TIMED_OUT, "")
    assert err == "tcpdemo: cannot connect to slow.test:80: timed out\n"


def test_othersReactor() -> None:
    """
    The threads of a reactor that runs already are left alone: it is to end them.
    """
    reactor = installedReactor()
    before = reactor.getThreadPool()
    assert clientReactor() is reactor
    assert reactor.getThreadPool() is before
