"""What the harvester keeps: items, cursors, and the pictures themselves."""
