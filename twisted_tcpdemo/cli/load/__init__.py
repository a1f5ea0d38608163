"""
C{tcpdemo load}: messages on many connections, the time of each answer, and the results as
text, as JSON and as a plot.

It may import what is shown, and how a command runs; no other command.
"""
