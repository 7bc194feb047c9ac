"""How the loops of `minidl.cpu` are compiled, made fast and shared among threads."""
