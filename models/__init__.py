"""Tables, enumerations and migrations: what is stored."""
