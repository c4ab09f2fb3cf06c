"""From one release to the other, service after service: rehearsed, out of the traffic, replaced, proved."""
