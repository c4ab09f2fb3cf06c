"""What the operating system offers: time, processes, files, logs."""
