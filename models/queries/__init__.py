"""Read models: set-based questions that the command line and the HTTP API both ask."""
