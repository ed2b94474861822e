"""Backup and restore of all that cannot be made again."""
