"""Deploy a revision across a fleet: look first, then one host, then waves; stop when too many fail."""
