"""state.db: what was done and is being done."""
