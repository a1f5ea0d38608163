"""
One run, in a process of its own: C{child.py REACTOR ours|stock SUITE}.

It writes a line of JSON for each test: its name, its outcome, and the reason.  The
last line is the number of connections that a poller of ours has served.
"""

from __future__ import annotations

import sys

from tests.system.lane import onlane
from tests.system.twisted_suite.reactors import install

SUITES = {
    "transport": (
        "twisted.internet.test.test_tcp",
        "twisted.internet.test.test_socket",
        "twisted.internet.test.test_tls",
        "twisted.internet.test.test_newtls",
        "twisted.internet.test.test_unix",
        "twisted.test.test_tcp",
        "twisted.test.test_tcp_internals",
        "twisted.test.test_policies",
        "twisted.test.test_ssl",
        "twisted.test.test_sslverify",
        "twisted.test.test_sni",
        "twisted.test.test_loopback",
        "twisted.test.test_unix",
    ),
    "wide": (
        "twisted.internet.test.test_endpoints",
        "twisted.protocols.test.test_tls",
        "twisted.web.test",
        "twisted.conch.test",
        "twisted.mail.test",
        "twisted.spread.test",
        "twisted.words.test",
        "twisted.names.test",
    ),
}
"""Twisted's tests of its transports, and those of what is built on them."""

LEFT_OUT = {
    "ours": (".test_streamingProducer.",),
    # They make keys for a minute, and open no socket.
    "wide": (".test_keys.", ".test_ckeygen."),
}
"""Parts of the names of tests that are not run.  Those of the first name wait for the
pause of a producer whose bytes the kernel takes at once, and disturb the next test when
their time is up."""


def main(kind: str, whose: str, suite: str) -> None:
    """
    Run all tests.
    """
    install(kind, whose == "ours")
    served: list[object] = []
    onlane.count(lambda: served.append(None))
    # Not earlier: these look at the reactors when they are imported.
    from twisted.internet.test import reactormixins

    from tests.system.lane import outcomes

    # Seconds after which a test that does not end has failed; none needs a second.
    reactormixins.DEFAULT_TIMEOUT_DURATION = 10.0
    unwanted = LEFT_OUT.get(whose, ()) + LEFT_OUT.get(suite, ())
    outcomes.run(list(SUITES[suite]), lambda name: not any(part in f"{name}." for part in unwanted))
    print(len(served), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
