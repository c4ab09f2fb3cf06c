"""The operating system: time, processes, commands, files, logs, users."""
