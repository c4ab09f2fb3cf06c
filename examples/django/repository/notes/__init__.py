"""Notes, and the settings of the site."""
