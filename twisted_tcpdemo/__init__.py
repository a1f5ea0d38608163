"""
The TCP connection layer for Twisted.
"""
