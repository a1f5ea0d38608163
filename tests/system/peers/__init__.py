"""
Tests against programs of others: proxies, TLS libraries, systemd.

Each of them is skipped where its program is missing.
"""
