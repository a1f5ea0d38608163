"""
Puts the tests of others on the fast lane, and takes down how they end.

This folder is also on the path of processes that cannot import C{tests}: its modules
import nothing from there.
"""
