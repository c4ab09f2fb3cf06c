"""Consul: the host's service and record, and keys in its KV store."""
