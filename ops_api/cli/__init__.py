"""The `fieldpost` command line, one file per area."""
