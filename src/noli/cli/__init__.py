"""The command line: one file a verb group, nothing heavy imported before a command runs."""
