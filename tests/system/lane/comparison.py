"""
How the same tests end on the lane and beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

Outcomes = dict[str, tuple[str, str]]
"""Names of tests, with outcome and reason."""


def parsed(lines: str) -> Outcomes:
    """
    Read the lines of L{tests.system.lane.outcomes}.
    """
    outcomes: Outcomes = {}
    for line in lines.splitlines():
        if line.startswith("["):
            name, outcome, why = json.loads(line)
            # A test may end twice: with its failure, and with its leftovers.
            if outcomes.get(name, ("passed", ""))[0] == "passed":
                outcomes[name] = (outcome, why)
    return outcomes


def tell(
    title: str, stock: Outcomes, ours: Outcomes, served: int, isExpected: Callable[[str, str], bool]
) -> int:
    """
    Print the tests that do not end as they do with Twisted's transport.

    @param served: the number of connections on the lane.
    @param isExpected: told a test's name and the reason of its end.
    @return: the number of unexpected differences; none on the lane is one.
    """
    counts = Counter(outcome for outcome, _ in ours.values())
    print(
        f"{title}: {len(ours)} tests, " + ", ".join(f"{n} {o}" for o, n in counts.items()), end=""
    )
    print(f"; {served} connections on the lane")
    unexpected = int(not served)
    for name in sorted(stock.keys() | ours.keys()):
        before, _ = stock.get(name, ("missing", ""))
        after, why = ours.get(name, ("missing", ""))
        if before != after:
            known = isExpected(name, why)
            print(f"  {name}: {before} with Twisted's, {after} with ours", end="")
            print(" (expected)" if known else f"\n    {why.strip()[-1500:]}", flush=True)
            unexpected += not known
    return unexpected
