"""HTTP routes, one file per area."""
