"""The demo: the whole loop on real pictures, on this machine alone."""
