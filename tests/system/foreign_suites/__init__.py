"""
The tests of other programs, on the lane and beside it.

C{python -m tests.system.foreign_suites} installs treq, foolscap, the mailbox server of
magic-wormhole and daphne into C{.venv-foreign}, runs the tests of each twice, and lists
those that end differently.
"""
