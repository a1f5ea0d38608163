"""
The harness: the same attacks against this server and against others, side by side.
See L{tests.harness.__main__}.
"""
