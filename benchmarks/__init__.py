"""The bars that this library must reach, one command each: ``python -m benchmarks P3``."""
