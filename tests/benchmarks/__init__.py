"""
The CPU time of servers for the same work, side by side.

C{python -m tests.benchmarks} runs all cases with all servers available here; see
docs/performance.md for the method.
"""
