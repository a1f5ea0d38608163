"""
Our server, as C{twistd tcpdemo}: C{python -m tests.harness.peers.ours WISHES TRANSPORT}.
"""

from __future__ import annotations

import sys

from tests.harness.peers.entry import Entry

PROTOCOL = "tests.harness.peers.program.Attacked"


def main(entry: Entry, transport: str) -> None:
    """
    Run it.
    """
    wanted = entry.wanted
    sys.argv = [
        *("twistd", "-n", "--pidfile=", "tcpdemo", "--interface", "127.0.0.1", "--port", "0"),
        *("--backlog", "4096", "--transport", transport, "--protocol", PROTOCOL),
        *("--max-connections", str(wanted.limit), "--overflow", wanted.overflow),
        *("--first-byte-timeout", str(wanted.firstByte), "--idle-timeout", str(wanted.idle)),
        *("--write-timeout", str(wanted.stall), "--close-timeout", str(wanted.close)),
        *("--max-lifetime", str(wanted.lifetime), "--drain", str(wanted.drain)),
        *wanted.extra,
    ]
    from tests.harness.peers.probe import serveOnReactor

    serveOnReactor(entry.probe, wanted.probe)
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main(Entry(sys.argv[1]), sys.argv[2])
