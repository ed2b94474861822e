"""Which part a sample lies in: by group and by source, safe against leaks, stable under growth."""
