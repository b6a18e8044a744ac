"""The core floor: from the outside world to validated frames."""
