"""
The arguments of the commands with connections of their own: connect, listen, load.
"""

from __future__ import annotations

import argparse

from twisted_tcpdemo.cli.outcome import statuses
from twisted_tcpdemo.cli.parsing import kinds

CONNECT = """
Standard input goes to the socket, and the socket to standard output.  When the
input ends, the client closes the sending half of the connection, and reads
until the peer ends.  When the peer ends first, the client sends the input that
it has read, and closes the connection.
"""

CONNECT_EXAMPLES = """
examples:
  tcpdemo connect localhost 18001
  tcpdemo connect --progress backup.example.org 9000 < disk.img
  printf 'GET / HTTP/1.0\\n\\n' | tcpdemo connect --crlf tls:example.org:443
  tcpdemo connect --proxy-protocol --proxy-client 192.0.2.7 localhost 18001
  tcpdemo connect /run/service.sock

"""

LISTEN = """
Wait for a client.  Standard input goes to it, and what it sends to standard
output, as with connect.  No other client is accepted, or with --keep the next
one when this one has gone.
"""

LISTEN_EXAMPLES = """
examples:
  tcpdemo listen 9000 > disk.img
  tcpdemo listen --keep --receive-only 127.0.0.1 9000 >> log
  tcpdemo listen --certificate key-and-certificate.pem 9000
  tcpdemo listen /run/service.sock

"""

LOAD = """
Send a message on each connection, wait for its answer, and send the next one.
With --rate, each message is due at a moment of its own, and its time counts
from there: a message that waits for a slow answer before it waits with the
clock running.
"""

LOAD_EXAMPLES = """
examples:
  tcpdemo load localhost 18001
  tcpdemo load --connections 200 --rate 20000 --duration 60 localhost 18001
  tcpdemo load --message 'PING' --answer line --requests 100000 localhost 6379
  tcpdemo load --json --plot latency.svg localhost 18001

"""

HOST = "a name, an address, a client endpoint such as tls:HOST:PORT, or the path of a UNIX socket"


def addConnect(commands: kinds.Commands) -> None:
    """
    Add C{connect}.
    """
    command = commands.add_parser(
        "connect",
        help="pipe standard input and output through a connection",
        description=CONNECT,
        epilog=CONNECT_EXAMPLES.lstrip() + statuses(),
    )
    _target(command, 30.0, "time to connect; 0: no limit")
    _transfer(command)


def addListen(commands: kinds.Commands) -> None:
    """
    Add C{listen}.
    """
    command = commands.add_parser(
        "listen",
        help="wait for a connection, and pipe standard input and output through it",
        description=LISTEN,
        epilog=LISTEN_EXAMPLES.lstrip() + statuses(),
    )
    add = command.add_argument
    add("where", metavar="HOST", help="the address of this machine to listen on, all if there is "
        "only a PORT; or a server endpoint such as tcp:PORT, or the path of a UNIX socket"
        )  # fmt: skip
    add("port", metavar="PORT", nargs="?", type=kinds.listeningPort,
        help="the port, 0 to 65535; 0: any that is free")  # fmt: skip
    add("--keep", "-k", action="store_true", help="serve one client after another, until Ctrl-C")
    add("--receive-only", action="store_true",
        help="read no input, and send nothing: a client's end is the only one")  # fmt: skip
    add("--certificate", metavar="FILE",
        help="speak TLS, with the key and the certificate in this file (PEM)")  # fmt: skip
    add("--timeout", metavar="SECONDS", type=kinds.seconds, default=0.0,
        help="time to wait for a client; 0: no limit [default: %(default)g]")  # fmt: skip
    _transfer(command)


def addLoad(commands: kinds.Commands) -> None:
    """
    Add C{load}.
    """
    command = commands.add_parser(
        "load",
        help="measure an echo or line server: throughput and latency",
        description=LOAD,
        epilog=LOAD_EXAMPLES.lstrip() + statuses(),
    )
    _target(command, 10.0, "time to connect, and to wait for the last answers; 0: no limit")
    add = command.add_argument
    add("--connections", "-c", metavar="N", type=kinds.positive, default=50,
        help="the number of connections [default: %(default)d]")  # fmt: skip
    add("--rate", "-r", metavar="N", type=kinds.rate, default=None,
        help="messages a second on all connections together [default: as many as are answered]"
        )  # fmt: skip
    add("--size", "-s", metavar="BYTES", type=kinds.messageSize, default=64,
        help="the size of a message; it ends with a newline [default: %(default)d]")  # fmt: skip
    add("--message", "-m", metavar="TEXT",
        help="a message of your own in place of one of --size; a newline is added")  # fmt: skip
    add("--answer", choices=("echo", "line"), default="echo",
        help="an answer has as many bytes as the message, or ends with the next newline "
        "[default: %(default)s]")  # fmt: skip
    add("--duration", "-d", metavar="SECONDS", type=kinds.interval, default=10.0,
        help="time to send for [default: %(default)g]")  # fmt: skip
    add("--requests", "-n", metavar="N", type=kinds.positive, default=None,
        help="send this number of messages, however long it takes")  # fmt: skip
    add("--plot", metavar="FILE", type=kinds.writable,
        help="draw latency by percentile, as SVG")  # fmt: skip
    add("--quiet", "-q", action="store_true", help="show no figures before the end")
    add("--json", action="store_true", help="print the result as one line of JSON")


def _target(command: argparse.ArgumentParser, timeout: float, about: str) -> None:
    """
    Add where to connect, and how.
    """
    add = command.add_argument
    add("where", metavar="HOST", help=HOST)
    add("port", metavar="PORT", nargs="?", type=kinds.port, help="the port of HOST, 1 to 65535")
    family = command.add_mutually_exclusive_group()
    family.add_argument("-4", dest="family", action="store_const", const=4, help="IPv4 only")
    family.add_argument("-6", dest="family", action="store_const", const=6, help="IPv6 only")
    add("--source", metavar="ADDRESS", type=kinds.address,
        help="connect from this address of this machine, or ADDRESS:PORT")  # fmt: skip
    add("--tls", action="store_true", help="speak TLS; the same as tls:HOST:PORT")
    add("--cafile", metavar="FILE",
        help="trust the certificates in this file (PEM), and no others; implies --tls"
        )  # fmt: skip
    add("--insecure", action="store_true",
        help="speak TLS with a server whose certificate nobody vouches for; implies --tls"
        )  # fmt: skip
    add("--proxy-protocol", action="store_true",
        help="begin with a PROXY header, as a proxy does, before any TLS")  # fmt: skip
    add("--proxy-client", metavar="ADDRESS", type=kinds.address,
        help="the client to name in that header, or ADDRESS:PORT [default: this one]"
        )  # fmt: skip
    add("--timeout", metavar="SECONDS", type=kinds.seconds, default=timeout,
        help=f"{about} [default: %(default)g]")  # fmt: skip


def _transfer(command: argparse.ArgumentParser) -> None:
    """
    Add how to pipe.
    """
    add = command.add_argument
    add("--idle-timeout", metavar="SECONDS", type=kinds.seconds, default=0.0,
        help="end the connection after this time without a byte in either direction; 0: never "
        "[default: %(default)g]")  # fmt: skip
    add("--linger", metavar="SECONDS", type=kinds.seconds, default=None,
        help="end the connection this time after the end of the input, even if the peer has not "
        "ended; TLS has no half-close here, so under TLS the peer ends the connection, or this "
        "does [default: wait for the peer]")  # fmt: skip
    add("--keep-sending", action="store_true",
        help="after the peer's end, send the rest of the input all the same")  # fmt: skip
    add("--crlf", action="store_true", help="send each newline of the input as CR LF")
    add("--progress", action="store_true", help="show the progress on standard error")
    add("--verbose", "-v", action="store_true",
        help="tell on standard error how the connection comes about and ends")  # fmt: skip
    add("--quiet", "-q", action="store_true",
        help="print no line about the connection at its end")  # fmt: skip
    add("--json", action="store_true", help="print that line as JSON")
