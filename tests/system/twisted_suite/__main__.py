"""
Run Twisted's tests with our transport and with Twisted's, and compare.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.system.lane.comparison import Outcomes, parsed, tell
from tests.system.twisted_suite.child import SUITES
from tests.system.twisted_suite.reactors import STOCK

EXPECTED = {
    # They look for the transport itself among the reactor's readers.
    "TCPConnectionTestsBuilder.test_resumeProducing",
    "PauseProducingTests.test_pauseProducingInConnectionMade",
    # It looks for a private buffer of Twisted's.
    "HalfCloseTests.testCloseWriteCloser",
    # They look for the protocol that Twisted puts between a transport and its TLS, and
    # for the factory of such protocols.
    "ProducerTestsMixin.test_producerSSLFromStart",
    "ProducerTestsMixin.test_producerAfterStartTLS",
    "ProducerTestsMixin.test_startTLSAfterRegisterProducerNonStreaming",
    "ProducerTestsMixin.test_startTLSAfterRegisterProducerStreaming",
    "OpenSSLOptionsECDHIntegrationTests.test_ellipticCurveDiffieHellman",
    # It waits for a line of the log.  Our transport asks for no descriptors where the
    # protocol takes none: the kernel drops them, as the test wants, and tells nobody.
    "UNIXTestsBuilder.test_avoidLeakingFileDescriptors",
    # It expects TCP_NODELAY to be off at first.
    "LoopbackTests.test_tcpNoDelay",
    # They are left out; see the module that runs the tests.
    "TCPTransportTestsBuilder.test_streamingProducer",
    "AdoptStreamConnectionTestsBuilder.test_streamingProducer",
    "UNIXAdoptStreamConnectionTestsBuilder.test_streamingProducer",
}
"""The tests that end differently, and why."""

ONE_MORE = "First list contains 1 additional elements."
"""What C{assertEqual} says if a single delayed call is left."""

ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}
"""Some tests need a locale that exists."""


def run(kind: str, whose: str, suite: str, seconds: float) -> tuple[Outcomes, int]:
    """
    Run the tests once.

    @param kind: the reactor.
    @param whose: C{"ours"} or C{"stock"}.
    @return: how the tests have ended, and the number of connections that a poller of
        ours has served.
    """
    command = [sys.executable, "-m", "tests.system.twisted_suite.child", kind, whose, suite]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, env=ENVIRONMENT
        )
    except subprocess.TimeoutExpired as late:
        last = (late.stdout or b"").decode().splitlines()[-1:]
        raise SystemExit(
            f"{kind}, {whose}: did not end after {seconds} s, but after {last}"
        ) from late
    outcomes = parsed(done.stdout)
    for name, (_, why) in outcomes.items():
        if name in SUITES[suite] or "ModuleNotFoundError" in why:
            raise SystemExit(f"{name}: {why} (it takes Twisted[tls,test,conch,http2])")
    if done.returncode or not outcomes:
        raise SystemExit(f"{kind}, {whose}: ended with {done.returncode}\n{done.stderr[-3000:]}")
    return outcomes, int(done.stdout.split()[-1])


def isExpected(name: str, why: str, kind: str) -> bool:
    """
    Whether a test is expected to end differently.

    The asyncio reactor's own C{stop()} makes a delayed call.  It is left behind, and
    tests count it, when it was called in another one.  Whether the last connection ends
    in a delayed call of the poller's or in an event is a matter of microseconds.
    """
    if kind == "asyncio" and "AsyncioSelectorReactor.stop." in why and ONE_MORE in why:
        return True
    reactor = STOCK[kind].rpartition(".")[2]
    *_, case, test = name.split(".")
    return f"{case.removesuffix(f'_{reactor}Tests')}.{test}" in EXPECTED


def compare(kind: str, suite: str, seconds: float) -> int:
    """
    Run on one reactor, with Twisted's transport and with ours side by side, and print.

    @return: the number of unexpected differences.
    """
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, kind, whose, suite, seconds) for whose in ("stock", "ours")]
        (stock, _), (ours, served) = (each.result() for each in runs)
    return tell(kind, stock, ours, served, lambda name, why: isExpected(name, why, kind))


def main() -> int:
    """
    Run, compare, print.

    @return: the exit status: 1 for any unexpected difference.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.twisted_suite", description=__doc__
    )
    parser.add_argument("reactors", nargs="*", help="epoll poll select asyncio")
    parser.add_argument(
        "--wide", action="store_true", help="what is built on the transport, by default on epoll"
    )
    parser.add_argument("--seconds", type=float, default=300, help="how long one run may take")
    arguments = parser.parse_args()
    suite = "wide" if arguments.wide else "transport"
    kinds = arguments.reactors or (["epoll"] if arguments.wide else list(STOCK))
    unexpected = sum(compare(kind, suite, arguments.seconds) for kind in kinds)
    print(f"{unexpected} unexpected differences")
    return min(unexpected, 1)


if __name__ == "__main__":
    sys.exit(main())
