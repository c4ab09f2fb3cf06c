"""Programs that come with a release: what a release may bring, and how supervisord gets to know it."""
