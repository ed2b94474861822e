"""The sample index: a SQLite cache of what the files say."""
