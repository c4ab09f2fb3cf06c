"""The configuration: its sections, how each key is read, and release.toml."""
