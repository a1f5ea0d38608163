"""
The command line: its options and arguments, the kinds of their values, and the manual page
that is made of them.

It may import what is shown, for the columns that a user may choose, and no command: only
the chosen one is imported.
"""
