"""
The servers under attack.

Each is one process that serves L{the same program<tests.harness.peers.program>} under
the same L{wishes<tests.harness.peers.running.Wanted>}, in the way in which its users
would best have it: with its own limit, its own timeouts, its own back-pressure, and an
end that waits for its clients.
"""
