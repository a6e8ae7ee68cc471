"""How the product is installed: containers and systemd, as far as it can be tried without an engine."""
