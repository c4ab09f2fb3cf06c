"""Set up a container: look at it, propose the missing files, and write only those."""
