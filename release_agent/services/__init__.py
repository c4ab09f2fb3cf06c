"""The services under supervisor, and their health."""
