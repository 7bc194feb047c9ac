"""Floor 6: pictures and measurements of networks and training runs."""
