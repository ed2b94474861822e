"""The watcher: which paths may have changed, and whether the watcher still works."""
