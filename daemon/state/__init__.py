"""What the daemon remembers: run history, deadlines, the lock, backups."""
