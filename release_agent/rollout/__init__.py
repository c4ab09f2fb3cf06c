"""A revision's deployment across a fleet: look first, one host, wait, some, all; stop when it goes wrong."""
