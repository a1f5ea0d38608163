"""
Twisted's own tests of TCP, run against our transport.

C{python -m tests.system.twisted_suite} runs them twice on each reactor, with
Twisted's port and with ours, and lists the tests that end differently.
"""
