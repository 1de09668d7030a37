"""What is provided once per process: settings, database, ledger, logs, metrics, clock, errors."""
