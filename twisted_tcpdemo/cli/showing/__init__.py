"""
What a user sees: lines, tables, progress, figures in words, what is said of a connection.

It may import nothing else of the command line.
"""
