"""Small mails for tests."""

from __future__ import annotations

from email.message import EmailMessage


def mail(
    subject: str = "Pump 7 leaks",
    *,
    message_id: str = "",
    in_reply_to: str = "",
    references: str = "",
    sender: str = "Ann <ann@example.org>",
    to: str = "support@example.org",
    date: str = "Mon, 05 Jan 2026 10:00:00 +0000",
    body: str = "The pump in hall 3 leaks & drips.\n",
    attachment: bytes | None = None,
) -> bytes:
    """The bytes of a mail; headers left empty are not written."""
    message = EmailMessage()
    named = {
        "From": sender,
        "To": to,
        "Subject": subject,
        "Date": date,
        "Message-ID": message_id,
        "In-Reply-To": in_reply_to,
        "References": references,
    }
    for name, value in named.items():
        if value:
            message[name] = value
    message.set_content(body)
    if attachment is not None:
        message.add_attachment(attachment, maintype="image", subtype="jpeg", filename="pump.jpg")
    return message.as_bytes()
