"""Frame in, frame out: no I/O, nothing mutated."""
