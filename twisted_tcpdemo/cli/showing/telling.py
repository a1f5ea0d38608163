"""
What is said of a connection on standard error.  All that a peer has chosen is made
safe.
"""

from __future__ import annotations

import ssl
import sys
from contextlib import suppress
from hashlib import sha256

from twisted_tcpdemo.transports.layers import bottomOf
from twisted_tcpdemo.values.report import ConnectionReport
from twisted_tcpdemo.values.text import printable


def say(line: str) -> None:
    """
    Print a line for people.
    """
    note(f"tcpdemo: {line}")


def note(line: str) -> None:
    """
    Print a line on standard error, where it can be written: a transfer does not fail
    with what is said of it.
    """
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def told(report: ConnectionReport) -> str:
    """
    The line about an ended connection.
    """
    assert report.closeReason is not None
    pending = f", {report.bytesPending} unsent" if report.bytesPending else ""
    return (
        f"{report.local} to {report.remote}: {report.bytesRead} bytes read, "
        f"{report.bytesWritten} written{pending}, {report.age:.3f} s, {report.closeReason.value}"
    )


def facts(report: ConnectionReport, outcome: int) -> dict[str, object]:
    """
    The same for programs.

    @param outcome: the exit status.
    """
    assert report.closeReason is not None
    return {
        "local": str(report.local),
        "remote": str(report.remote),
        "bytesRead": report.bytesRead,
        "bytesWritten": report.bytesWritten,
        "bytesPending": report.bytesPending,
        "seconds": round(report.age, 3),
        "closeReason": report.closeReason.value,
        "status": int(outcome),
    }


def secured(transport: object) -> str:
    """
    The TLS of a connection: its version, its cipher, and who the peer says it is.
    """
    handle: object = bottomOf(transport).getHandle()
    if isinstance(handle, ssl.SSLObject):
        cipher = handle.cipher()
        said = f"{handle.version()}, {cipher[0] if cipher else 'no cipher'}"
        return f"{said}, {certificateWords(handle.getpeercert(), handle.getpeercert(True))}"
    # An object of pyOpenSSL, which is not imported for this.
    version = getattr(handle, "get_protocol_version_name", str)()
    cipherName = getattr(handle, "get_cipher_name", str)()
    return f"{version or 'TLS'}, {cipherName}"


def certificateWords(verified: object, encoded: bytes | None) -> str:
    """
    A certificate in words.

    @param verified: its fields; empty where nobody has verified it.
    @param encoded: its bytes.
    """
    if isinstance(verified, dict) and verified:
        names = [_nameOf(verified.get(part)) for part in ("subject", "issuer")]
        until = printable(str(verified.get("notAfter")), 60)
        return f"certificate of {names[0]}, by {names[1]}, until {until}"
    if encoded is None:
        return "no certificate"
    return f"a certificate that was not verified, SHA-256 {sha256(encoded).hexdigest()}"


def _nameOf(parts: object) -> str:
    """
    A distinguished name as C{ssl} has it, tuples in tuples: its common name, or all.
    """
    flat = [pair for part in parts for pair in part] if isinstance(parts, tuple) else []
    common = [value for key, value in flat if key == "commonName"]
    return printable(str(common[0] if common else ", ".join(value for _, value in flat)), 120)
