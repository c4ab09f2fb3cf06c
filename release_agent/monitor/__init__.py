"""The resident event listener."""
