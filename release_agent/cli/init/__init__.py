"""Set up a container: look at it, propose what is missing, write that and nothing else."""
