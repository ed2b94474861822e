"""How much may be collected: quotas, room on the disk, balance of the labels."""
