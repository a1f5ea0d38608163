"""
C{tcpdemo status} and C{tcpdemo control}: the commands for a server that runs.  They reach
it over HTTP, and need no reactor.

It may import what is shown; no other command.
"""
