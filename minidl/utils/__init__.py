"""Helpers that know nothing of networks: checks of arguments, files, tables, random streams."""
