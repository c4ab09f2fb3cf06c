"""One host of a fleet, over its supervisor's RPC."""
