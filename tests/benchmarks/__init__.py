"""
How much CPU time servers take for what they do, side by side.

C{python -m tests.benchmarks} runs all cases with all servers that can be had
here; see docs/performance.md for the method.
"""
