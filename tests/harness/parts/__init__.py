"""
The attacks, a module for each part.

A case is a function that gets the L{Ground<tests.harness.ground.Ground>} of one peer,
attacks it, notes what does not hold, and returns what it has measured.
"""
