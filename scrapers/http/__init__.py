"""Requests to the sources: guarded, limited, polite."""
