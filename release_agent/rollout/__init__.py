"""Deploy a revision across a fleet: look at all hosts, deploy to one, then to waves; stop when too many fail."""
