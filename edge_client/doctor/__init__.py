"""`fimi-client doctor`: what this board can do, what it lacks, and the command that mends it."""
