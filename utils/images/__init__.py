"""Checking image files in confined worker processes."""
