"""The embedded server and the simulated demo bucket: both only for those who ask by name."""
