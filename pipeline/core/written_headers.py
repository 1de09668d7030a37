"""Header blocks that mail programs write into the text, above what they quote or forward, in many languages."""

# ruff: noqa: RUF001 - words of other scripts are what it holds

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

_BLOCK_LINES = 14
_LINE_LENGTH = 300
_LABEL_LENGTH = 36


class Label(Enum):
    """What a line of the block names."""

    SENDER = auto()
    DATE = auto()
    TO = auto()
    CC = auto()
    SUBJECT = auto()
    OTHER = auto()


_WORDS = {
    Label.SENDER: """from|von|de|da|van|från|fra|od|lähettäjä|от|від|от кого|kimden|gönderen|feladó|expéditeur|mittente
        |remitente|remetente|afzender|avsändare|afsender|avsender|nadawca|odesílatel|absender|発信者|差出人|发件人|寄件者
        |寄件人|보낸 사람|보낸사람|από|de la|מאת|من""",
    Label.DATE: """sent|date|gesendet|datum|envoyé|envoyé le|date d'envoi|enviado|enviado el|enviado em|enviada em|fecha
        |inviato|inviata|inviato il|data|verzonden|skickat|sendt|dato|wysłano|odesláno|lähetetty|päivämäärä|päiväys
        |отправлено|дата|дата відправлення|gönderildi|tarih|elküldve|dátum|发送时间|发送日期|日期|傳送時間
        |寄件日期|送信日時|日付|日時|보낸 날짜|날짜|ημερομηνία|trimis|sent at|gesendet am|date/time""",
    Label.TO: """to|an|à|a|para|aan|till|til|do|komu|vastaanottaja|кому|kime|címzett|destinataire|destinatario
        |destinatário|收件人|收件者|宛先|받는 사람|받는사람|προς|către|pour|empfänger""",
    Label.CC: "cc|kopie|kopie an|copie|copie à|kopia|kopi|копия|копія|bilgi|másolatot kap|抄送|副本|참조|bcc|cci|kopio",
    Label.SUBJECT: """subject|betreff|objet|asunto|assunto|oggetto|onderwerp|ämne|emne|temat|předmět|aihe|тема|konu
        |tárgy|主题|主旨|件名|제목|θέμα|subiect|sujet|re""",
    Label.OTHER: """reply-to|antwort an|antworten an|répondre à|responder a|rispondi a|importance|wichtigkeit|priority
        |organization|message-id|attachments|anlagen|pièces jointes|newsgroups|sender|resent-from|organisation
        |priorität""",
}
_LABELS = {
    " ".join(word.split()): label for label, words in _WORDS.items() for word in words.replace("\n", " ").split("|")
}


@dataclass(frozen=True, slots=True)
class Block:
    """Lines `first` to before `after` of a text are a header block; `sender` is what its sender line says."""

    first: int
    after: int
    sender: str


def has_colon(line: str) -> bool:
    """Say whether a line holds a colon, narrow or wide; no announcement is without."""
    return ":" in line or "：" in line


def at(lines: Sequence[str], first: int) -> Block | None:
    """Return the block that begins at line `first`, None when none does.

    It needs a sender and a subject with a date or recipients, or a sender's address with date and recipients, on lines
    that follow each other (one blank line is bridged, and lines that go on are understood). So a form that says
    "From: Berlin, To: Hamburg, Date: Monday" is no block.
    """
    if (label := _label(lines[first])) is None or label[0] is Label.OTHER:
        return None
    seen: dict[Label, str] = {}
    position = after = first
    while position < min(len(lines), first + _BLOCK_LINES):
        label = _label(lines[position])
        if label is not None:
            seen.setdefault(*label)
            after = position + 1
        elif (lines[position].strip() and not _goes_on(lines, position)) or (
            not lines[position].strip() and position - after >= 1
        ):
            break
        position += 1
    return Block(first, after, seen[Label.SENDER]) if _is_complete(seen) else None


def _label(line: str) -> tuple[Label, str] | None:
    """Return what a line names and its value; a label may stand in asterisks, as bold text becomes."""
    reach = line[:_LINE_LENGTH]
    before, colon, value = reach.partition(":")
    if not colon or "：" in before:
        before, colon, value = reach.partition("：")
    if not colon or len(before) > _LABEL_LENGTH:
        return None
    label = _LABELS.get(" ".join(before.strip("> \t\xa0*").lower().split()))
    return None if label is None else (label, value.strip(" \t\xa0*"))


def _goes_on(lines: Sequence[str], position: int) -> bool:
    """Say whether a line without a label goes on with the line above: more labels follow at once."""
    following = lines[position + 1 : position + 3]
    return any(_label(line) is not None for line in following) and bool(lines[position - 1].strip())


def _is_complete(seen: dict[Label, str]) -> bool:
    if not seen.get(Label.SENDER):
        return False
    others = {Label.DATE, Label.TO} & seen.keys()
    return bool(others) if Label.SUBJECT in seen else len(others) == 2 and "@" in seen[Label.SENDER]
