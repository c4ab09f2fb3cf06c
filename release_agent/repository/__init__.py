"""The git repositories, read-only."""
