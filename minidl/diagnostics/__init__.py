"""Pictures and measurements of networks and training runs."""
