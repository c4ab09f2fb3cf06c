"""state.db: the history of all runs, and the state of the current one."""
