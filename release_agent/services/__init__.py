"""The services under supervisor, and how healthy they are."""
