"""
What lies under a connection, whoever made it: the layers of a transport, its
counts, its half-close, its socket's options, its clock's deadlines.

It may import TLS, the clock, and all below them.  An application meets none of it.
"""
