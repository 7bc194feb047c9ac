"""What has nothing to do with networks: checks of arguments, files, tables, random streams."""
