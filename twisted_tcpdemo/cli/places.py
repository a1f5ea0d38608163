"""
Where to connect, and how: from the words of the command line to an endpoint.
"""

from __future__ import annotations

import re
import ssl
from argparse import Namespace
from collections.abc import Callable
from ipaddress import ip_address
from typing import NamedTuple

from twisted.internet.abstract import isIPv6Address

from twisted_tcpdemo.cli.outcome import CommandError, Outcome
from twisted_tcpdemo.cli.showing.telling import say
from twisted_tcpdemo.client.endpoint import ClientEndpoint
from twisted_tcpdemo.errors import NoEngineError, TLSNotInstalledError
from twisted_tcpdemo.fast.encrypting import Encrypting
from twisted_tcpdemo.fast.reactor import FastReactor, fastReactor
from twisted_tcpdemo.shapes import AnyReactor, Transport
from twisted_tcpdemo.values.addresses import endpointOf
from twisted_tcpdemo.values.text import printable

_HOST_PORT = re.compile(r"(?!(tcp|ssl|tls):)[^:]+:\d+|\[.*\]:\d+")

_PLAIN = re.compile(r"(tcp|tls):((?:[^:\\=]|\\.)+):(\d{1,5})", re.IGNORECASE)
"""A client's string with nothing but a host and a port."""

ANY = {4: "0.0.0.0", 6: "::"}
"""Sockets that are bound to these have this family alone."""

Preface = Callable[[Transport], None]
"""What begins a connection, given its transport, before any byte of the user's."""


class Place(NamedTuple):
    """
    Where to connect, and how a connection begins.
    """

    endpoint: ClientEndpoint
    preface: Preface | None


class _Wish(NamedTuple):
    """
    What the options say.
    """

    where: str
    port: int | None
    tls: ssl.SSLContext | None


def named(options: Namespace) -> str:
    """
    The place as the user has written it, for a message.
    """
    port = "" if options.port is None else f":{options.port}"
    return printable(f"{options.where}{port}")


def placeFor(reactor: AnyReactor, options: Namespace) -> Place:
    """
    The place that the options name.  If the server's certificate is not checked there,
    the user is told.

    @raise CommandError: if they are wrong, or if they ask for TLS and it is not
        installed.
    """
    try:
        place = _placeOf(reactor, options, _wishOf(options))
    except (TLSNotInstalledError, NoEngineError) as error:
        raise CommandError(Outcome.FAILED, str(error)) from None
    except (TypeError, ValueError) as error:
        raise misnamed(options, error) from None
    if not verifies(options):
        say("ssl: does not check the server's certificate; tls:HOST:PORT does")
    return place


def _placeOf(reactor: AnyReactor, options: Namespace, wish: _Wish) -> Place:
    if not options.proxy_protocol:
        if options.proxy_client is not None:
            raise ValueError("--proxy-client goes with --proxy-protocol")
        return Place(_endpoint(reactor, options, wish), None)
    if wish.port is None and not isPath(wish.where):
        raise ValueError("--proxy-protocol goes with HOST PORT, or a path")
    if wish.tls is not None and not isinstance(fastReactor(reactor), FastReactor):
        raise NoEngineError
    preface = _prefaceFor(options, wish.tls, wish.where.strip("[]"))
    return Place(_endpoint(reactor, options, wish._replace(tls=None)), preface)


def misnamed(options: Namespace, error: Exception) -> CommandError:
    """
    The error of words that name no place.
    """
    said = printable(str(error))
    if _HOST_PORT.fullmatch(options.where):
        said += f"; {options.command} HOST PORT, not HOST:PORT"
    return CommandError(Outcome.BAD_INPUT, said)


def unreached(options: Namespace, outcome: Outcome, why: str) -> CommandError:
    """
    The error of a place to which there is no connection.
    """
    return CommandError(outcome, f"cannot connect to {named(options)}: {why}")


def _wishOf(options: Namespace) -> _Wish:
    """
    What the options say.

    @raise ValueError: if they do not go together.
    """
    where, port = options.where, options.port
    encrypted = options.tls or options.insecure or options.cafile is not None
    found = _PLAIN.fullmatch(where) if port is None else None
    if found is not None and found[1].lower() == "tls":
        encrypted = True
    chosen = options.family or options.source
    if found is not None and (encrypted or chosen or options.proxy_protocol):
        where, port = re.sub(r"\\(.)", r"\1", found[2]), int(found[3])
    isSSL = where.lower().startswith("ssl:")  # --insecure says that one knows what it lacks
    given = chosen or options.tls or options.cafile or (options.insecure and not isSSL)
    if port is None and given:
        raise ValueError("-4, -6, --source, --tls, --cafile and --insecure go with HOST PORT")
    return _Wish(where, port, _context(options) if encrypted and port is not None else None)


def _context(options: Namespace) -> ssl.SSLContext:
    """
    TLS of the standard library, which needs no other package.

    @raise ValueError: if C{--cafile} cannot be read.
    """
    if options.insecure and options.cafile is not None:
        raise ValueError("--insecure trusts anyone, and --cafile does not: give one of them")
    try:
        context = ssl.create_default_context(cafile=options.cafile)
    except OSError as error:
        raise ValueError(f"--cafile {options.cafile!r}: {fileTrouble(error)}") from None
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def fileTrouble(error: OSError) -> str:
    """
    Why a file with keys or certificates cannot be used.
    """
    if isinstance(error, ssl.SSLError):
        return "there is no PEM in it that can be used"
    return error.strerror or str(error)


def isPath(where: str) -> bool:
    """
    Whether a word is a path, and not a name, an address or an endpoint.
    """
    return "/" in where.partition(":")[0]


def _endpoint(reactor: AnyReactor, options: Namespace, wish: _Wish) -> ClientEndpoint:
    where, timeout = wish.where, options.timeout
    if wish.port is not None:
        host = where.strip("[]")
        address, local = options.source or (None, 0)
        if options.family is not None:
            _checkFamily(options.family, host, "the host")
            _checkFamily(options.family, address or "", "--source")
            address = address or ANY[options.family]
        return ClientEndpoint(
            reactor, host, wish.port, timeout=timeout, tls=wish.tls,
            localAddress=address, localPort=local or None,
        )  # fmt: skip
    if isPath(where):
        return ClientEndpoint(reactor, path=where, timeout=timeout)
    return ClientEndpoint.fromString(descriptionIn(options), reactor, timeout=timeout)


def descriptionIn(options: Namespace) -> str:
    """
    The description of an endpoint, given in place of HOST PORT.

    @raise ValueError: if it is a host without its port.
    """
    where: str = options.where
    if ":" not in where or isIPv6Address(where.strip("[]")):
        raise ValueError(f"with the host {where!r} goes a port: {options.command} HOST PORT")
    return where


def _checkFamily(family: int, address: str, what: str) -> None:
    try:
        version = ip_address(address.partition("%")[0]).version
    except ValueError:
        return  # a name
    if version != family:
        raise ValueError(f"-{family} does not go with {what} {address}")


def verifies(options: Namespace) -> bool:
    """
    Whether the server's certificate is checked; Twisted's C{ssl:} does not, unless it is
    given certificates to trust.
    """
    where = options.where.lower()
    return options.insecure or not where.startswith("ssl:") or "cacertsdir=" in where


def _prefaceFor(options: Namespace, tls: ssl.SSLContext | None, host: str) -> Preface:
    """
    A PROXY header, and then TLS.
    """
    client: tuple[str, int] | None = options.proxy_client

    def begin(transport: Transport) -> None:
        own, other = endpointOf(transport.getHost()), endpointOf(transport.getPeer())
        source = client or (own.address or "", own.port or 0)
        if not source[1]:
            source = source[0], own.port or 0
        transport.write(proxyLine(source, (other.address or "", other.port or 0)))
        if tls is not None:
            assert isinstance(transport, Encrypting)  # of a FastReactor
            transport.startTLS(tls, hostname=host)

    return begin


def proxyLine(source: tuple[str, int], target: tuple[str, int]) -> bytes:
    """
    A PROXY header, version 1 (HAProxy's proxy-protocol.txt, section 2.1).  Both
    addresses in it have one family; an IPv4 address has a form in IPv6, too.
    """
    try:
        first = ip_address(source[0].partition("%")[0])
    except ValueError:
        return b"PROXY UNKNOWN\r\n"
    try:
        second = ip_address(target[0].partition("%")[0])
    except ValueError:
        second = ip_address(ANY[first.version])
    names = [str(first), str(second)]
    family = first.version
    if first.version != second.version:
        names = [name if ":" in name else f"::ffff:{name}" for name in names]
        family = 6
    return f"PROXY TCP{family} {names[0]} {names[1]} {source[1]} {target[1]}\r\n".encode()
