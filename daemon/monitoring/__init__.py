"""How the service is doing: heartbeats, systemd, metrics, disk and GPU."""
