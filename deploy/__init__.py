"""How Fieldpost runs: one machine, containers, systemd, monitoring."""
