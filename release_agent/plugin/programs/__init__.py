"""Programs that come with a release: check them, and give them to supervisord."""
