"""The daemon: what is due, job processes, supervision, and the command line."""
