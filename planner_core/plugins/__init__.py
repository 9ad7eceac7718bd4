"""Plugins: the hooks, the records they hand over, loading each on its own, and the registry of policies."""
