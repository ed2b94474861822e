"""Downloading and keeping verified versions."""
