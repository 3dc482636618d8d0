"""The shell around the session: everything with a socket, a process or a clock in it."""
