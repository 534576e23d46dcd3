"""What is asked of the operating system: memory, signals, sockets, stderr."""
