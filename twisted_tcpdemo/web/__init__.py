"""
The HTTP of the status page and of control: one answer at a time, in slices of a few
milliseconds, within deadlines, for whoever has the token.

It may import service and all below it, and twisted.web; so it is imported only when
the page or control is asked for.
"""
