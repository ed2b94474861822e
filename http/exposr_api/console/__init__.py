"""The console: pages for people over the service, at `/console/`."""
