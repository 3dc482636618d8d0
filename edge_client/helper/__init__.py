"""The privileged side: a small process with a socket and a fixed vocabulary, so that the agent needs no rights."""
