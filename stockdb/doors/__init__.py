"""Parts of the front doors that would make one file too long; each is a base class there."""
