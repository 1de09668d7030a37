"""What people do: one file per area."""
