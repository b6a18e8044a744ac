"""Many reads at once: bulk downloads on threads, processes or a cluster."""
