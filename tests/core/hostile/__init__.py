"""Mails built to break a mail system: at least 500 seeded samples over every row of reliability, section 4."""
