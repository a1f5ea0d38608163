"""
Run Twisted's tests with our transport and with Twisted's, and compare.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.system.twisted_suite.child import MODULES
from tests.system.twisted_suite.reactors import STOCK

EXPECTED = {
    # They look for the transport itself among the reactor's readers.
    "test_resumeProducing",
    "test_pauseProducingInConnectionMade",
    # It looks for a private buffer of Twisted's.
    "testCloseWriteCloser",
    # Their client may end before the port has accepted it, all in one turn; then the
    # helper of these tests has no server to write to.
    "test_resumeProducingAbort",
    "test_resumeProducingThrows",
    "test_doubleHalfClose",
    # It waits for a line of the log.  Our transport asks for no descriptors where the
    # protocol takes none: the kernel drops them, as the test wants, and tells nobody.
    "test_avoidLeakingFileDescriptors",
    # They look for the protocol that Twisted puts between a transport and its TLS.
    "test_producerAfterStartTLS",
    "test_startTLSAfterRegisterProducerNonStreaming",
    "test_startTLSAfterRegisterProducerStreaming",
    # It expects TCP_NODELAY to be off at first.
    "test_tcpNoDelay",
    # It is left out; see the module that runs the tests.
    "test_streamingProducer",
}

EXPECTED_ON = {
    # The reactor's own stop() makes a delayed call.  It is left behind, and the tests
    # count it, when the last connection ends in an event and not in a timer.
    "asyncio": {
        "test_fullWriteBuffer",
        "test_fullWriteBufferAfterByteExchange",
        "test_resumeProducingAbortLater",
    },
}

Outcomes = dict[str, tuple[str, str]]


def run(kind: str, whose: str, seconds: float) -> Outcomes:
    """
    Run the tests once.

    @param kind: the reactor.
    @param whose: C{"ours"}, C{"both"} or C{"stock"}.
    """
    command = [sys.executable, "-m", "tests.system.twisted_suite.child", kind, whose]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as late:
        last = (late.stdout or b"").decode().splitlines()[-1:]
        raise SystemExit(
            f"{kind}, {whose}: did not end after {seconds} s, but after {last}"
        ) from late
    outcomes: Outcomes = {}
    for line in done.stdout.splitlines():
        if line.startswith("["):
            name, outcome, why = json.loads(line)
            # A test may end twice: with its failure, and with its leftovers.
            if outcomes.get(name, ("passed", ""))[0] == "passed":
                outcomes[name] = (outcome, why)
    for name, (_, why) in outcomes.items():
        if name in MODULES:  # it could not be imported
            raise SystemExit(f"{name}: {why} (it takes Twisted[tls,test])")
    if done.returncode or not outcomes:
        raise SystemExit(f"{kind}, {whose}: ended with {done.returncode}\n{done.stderr[-3000:]}")
    return outcomes


def differences(stock: Outcomes, ours: Outcomes) -> list[str]:
    """
    The tests that do not end as they do with Twisted's transport.
    """
    return sorted(
        name
        for name in stock.keys() | ours.keys()
        if stock.get(name, ("missing", ""))[0] != ours.get(name, ("missing", ""))[0]
    )


def main() -> int:
    """
    Run, compare, print.

    @return: the exit status: 1 for any unexpected difference.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.twisted_suite", description=__doc__
    )
    parser.add_argument(
        "reactors", nargs="*", default=list(STOCK), help="epoll poll select asyncio"
    )
    parser.add_argument("--both", action="store_true", help="our transport for clients, too")
    parser.add_argument("--seconds", type=float, default=300, help="how long one run may take")
    arguments = parser.parse_args()
    unexpected, subject = 0, "both" if arguments.both else "ours"
    with ThreadPoolExecutor(2) as pool:
        for kind in arguments.reactors:
            runs = [
                pool.submit(run, kind, whose, arguments.seconds) for whose in ("stock", subject)
            ]
            stock, ours = (each.result() for each in runs)
            counts = Counter(outcome for outcome, _ in ours.values())
            print(f"{kind}: {len(ours)} tests, " + ", ".join(f"{n} {o}" for o, n in counts.items()))
            for name in differences(stock, ours):
                expected = name.rpartition(".")[2] in EXPECTED | EXPECTED_ON.get(kind, set())
                unexpected += not expected
                before, (after, why) = (
                    stock.get(name, ("missing",))[0],
                    ours.get(name, ("missing", "")),
                )
                print(f"  {name}: {before} with Twisted's, {after} with ours", end="")
                print(" (expected)" if expected else f"\n    {why.strip()[-1500:]}")
    print(f"{unexpected} unexpected differences")
    return min(unexpected, 1)


if __name__ == "__main__":
    sys.exit(main())
