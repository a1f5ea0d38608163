"""
What reads a peer's bytes, fed with anything: see L{tests.fuzz.__main__}.
"""
