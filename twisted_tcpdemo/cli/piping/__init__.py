"""
C{tcpdemo connect} and C{tcpdemo listen}: standard input and output, piped through a
connection.

It may import what is shown, and how a command runs; no other command.
"""
