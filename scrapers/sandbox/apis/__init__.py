"""The stand-in of each source's API."""
