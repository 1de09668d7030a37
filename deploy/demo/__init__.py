"""A realistic shared mailbox of field-service mail, built from a seed."""
