"""Move the services from one release to the other: rehearsal, traffic, replacement, proof."""
