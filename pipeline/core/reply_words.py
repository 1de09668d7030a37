"""How mail programs announce a quoted or a forwarded mail, in many languages; linear for any line."""

# ruff: noqa: RUF001 - words of other scripts are what it holds

from __future__ import annotations

import re
from collections.abc import Sequence

_REACH = 400
_LINES_OF_ONE = 4


def _any(words: str) -> str:
    return "|".join(" ".join(word.split()) for word in words.replace("\n", " ").split("|"))


# "... wrote:" where the colon follows the verb at once.
_LAST_WORDS = _any(
    r"""wrote|writes|said|schrieb|schreibt|hat geschrieben|a écrit|écrit|écrivait|escribió|escribio|ha escrito|escreveu
    |ha scritto|scrisse|scrive|schreef|heeft geschreven|het volgende geschreven|wrote the following
    |skrev|skriver|har skrivit|napisał\(a\)|napisała?|pisze
    |napsal\(a\)|napsala?|kirjoitti|пишет|написала?|написал\(а\)|писала?|написав|пише|yazdı|írta|ezt írta
    |írta \(időpont: .{1,80}\)|a scris|έγραψε|님이 작성|님이 씀"""
)
# No white space comes before these.
_LAST_SIGNS = "写道|寫道|书写道|さんは書きました|さんが書きました"
# "wrote <name>:", in languages where the name may come last; a pronoun there makes it a sentence of the writer's own.
_INNER_WORDS = _any("schrieb|schreef|skrev|escribió|escreveu|wrote on|wrote at|scrive il|scrisse il")
_PRONOUNS = _any(
    "i|we|he|she|they|you|ich|wir|er|sie|ihr|je|nous|il|elle|yo|nosotros|ik|wij|we|hij|zij|jag|vi|han|hon|jeg|hun|eu|io"
)
_SAID = re.compile(
    rf"(?:(?:^|[\s>)\]\"',»”])(?:{_LAST_WORDS})|{_LAST_SIGNS}"
    rf"|[\s>)\]\"',»”](?:{_INNER_WORDS})(?!\s(?:{_PRONOUNS})\s)(?!\s(?:{_PRONOUNS})$)(?:\s[^\s]{{1,60}}){{1,10}}"
    r"|^wiadomość napisana przez .{1,200})$",
    re.IGNORECASE,
)
_OF_MY_OWN = re.compile(rf"\b(?:{_PRONOUNS})\s(?:{_LAST_WORDS})$", re.IGNORECASE)
_OPENING = re.compile(
    r"(?:[-*_\u200e \t]{0,6})(?:\d|(?:"
    + _any(
        """on|at|am|um|le|el|il|op|em|den|dne|pe|w dniu|dnia|på|στις|в|в ср|il giorno|a\\(z\\)|mon|tue|wed|thu|fri|sat
        |sun|monday|tuesday|wednesday|thursday|friday|saturday|sunday|mo|di|mi|do|fr|sa|so|lun|mar|mer|mié|jeu|ven
        |vie|sam|sáb|dim|dom|pon|wt|śr|czw|pt|sob|nd|пн|вт|ср|чт|пт|сб|вс|ma|ti|ke|to|pe|la|su|tir|ons|tor|fre|lør
        |søn|mån|tis|lör|sön"""
    )
    + r")[.,\s])",
    re.IGNORECASE,
)
_MOMENT = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)|(?<!\d)\d{1,2}[:.h]\d\d(?!\d)")
_ADDRESS = re.compile(r"[^\s<>@:]{1,64}@[^\s<>@:]{1,100}")
#: Gmail in some languages leaves the verb out: "2026年3月4日(水) 5:06 Ann <ann@x.example>:".
_VERBLESS = re.compile(r"<[^\s<>@]{1,64}@[^\s<>@]{1,100}>$")

_ORIGINAL = _any(
    r"""original message|original mail|original e-?mail|originalnachricht|ursprüngliche nachricht|message d['’]origine
    |message original|message d['’]origine|mensaje original|mensagem original|messaggio originale|oorspronkelijk bericht
    |origineel bericht|ursprungligt meddelande|originalmeddelande|oprindelig meddelelse|opprinnelig melding
    |oryginalna wiadomość|wiadomość oryginalna|wiadomość pierwotna|původní zpráva|alkuperäinen viesti
    |исходное сообщение|оригинальное сообщение|eredeti üzenet|özgün ileti|orijinal mesaj|mesaj original|αρχικό μήνυμα
    |原始邮件|原邮件|原始郵件|元のメッセージ|원본 메시지|reply message|original appointment|ursprünglicher termin"""
)
_FORWARDED = _any(
    r"""forwarded message|forwarded mail|forwarded by .{1,80}|weitergeleitete nachricht|weitergeleitete mail
    |message transféré|message transmis|mensaje reenviado|mensagem encaminhada|messaggio inoltrato|doorgestuurd bericht
    |vidarebefordrat meddelande|vidarebefordrat brev|videresendt meddelelse|videresendt besked|videresendt melding
    |wiadomość przekazana dalej|przekazana wiadomość|treść przekazanej wiadomości|přeposlaná zpráva
    |välitetty viesti|edelleenlähetetty viesti|пересылаемое сообщение|пересланное сообщение|переслане повідомлення
    |továbbított üzenet|továbbított levél|iletilmiş mesaj|yönlendirilmiş ileti|mesaj redirecționat|προωθημένο μήνυμα
    |转发邮件|转发的邮件|轉寄郵件|転送メッセージ|転送されたメッセージ|전달된 메시지"""
)
_BEGINS_FORWARDED = _any(
    r"""begin forwarded message|anfang der weitergeleiteten nachricht|début du message réexpédié
    |début du message transféré|inicio del mensaje reenviado|inizio messaggio inoltrato
    |início da mensagem encaminhada|início da mensagem reencaminhada|begin doorgestuurd bericht
    |vidarebefordrat brev|start på vidarebefordrat meddelande|start på videresendt besked|videresendt melding
    |początek przekazywanej wiadomości|začátek přeposlané zprávy|välitetty viesti alkaa
    |начало переадресованного сообщения
    |下面是被转发的邮件|転送されたメッセージ"""
)
_ORIGINAL_LINE = re.compile(rf"[-_=*]{{2,40}}\s{{0,4}}(?:{_ORIGINAL})\s{{0,4}}[-_=*]{{2,40}}:?", re.IGNORECASE)
_FORWARD_LINE = re.compile(
    rf"[-_=*]{{2,40}}\s{{0,4}}(?:{_FORWARDED})\s{{0,4}}[-_=*]{{2,40}}:?|(?:{_BEGINS_FORWARDED})\s?[:：]", re.IGNORECASE
)
_ANSWER_ABOVE = re.compile(
    r"[-#=* ]{0,12}(?:please )?(?:type your )?(?:reply|write|antwort(?:en sie)?|bitte antworten sie) (?:above|oberhalb)"
    r" (?:this|dieser) (?:line|zeile)[-#=* .]{0,12}",
    re.IGNORECASE,
)
_FORWARD_PREFIX = re.compile(
    r"\s{0,4}(?:fwd?|wg|tr|rv|enc|i|vs|vb|vl|doorst|pd|pr[eě]|továbbítva|ilt|转发|轉寄|转)\s?[:：]", re.IGNORECASE
)


def is_original_line(line: str) -> bool:
    """Say whether a stripped line is "-----Original Message-----" in some language."""
    return line[:1] in "-_=*" and _ORIGINAL_LINE.fullmatch(line, 0, _REACH) is not None


def is_forward_line(line: str) -> bool:
    """Say whether a stripped line is "----- Forwarded message -----" or "Begin forwarded message:"."""
    return (line[:1] in "-_=*" or line[-1:] in ":：") and _FORWARD_LINE.fullmatch(line, 0, _REACH) is not None


def may_ask_for_answers_above(line: str) -> bool:
    """Say cheaply whether `is_answer_above_line` may hold."""
    return " above " in line or " oberhalb " in line


def is_answer_above_line(line: str) -> bool:
    """Say whether a stripped line is a help desk's "please type your reply above this line"."""
    return may_ask_for_answers_above(line) and _ANSWER_ABOVE.fullmatch(line, 0, _REACH) is not None


def is_forward_subject(subject: str) -> bool:
    """Say whether the outermost prefix of a subject marks a forward; "Re: Fwd:" is an answer."""
    return _FORWARD_PREFIX.match(subject) is not None


def attribution(lines: Sequence[str], last: int) -> tuple[int, bool] | None:
    """Return where "On ... wrote:" begins that ends with line `last`, and whether it is surely one.

    It may spread over four lines. It is sure when it names an address, or begins with a date and a year or time.
    None when the line ends no such words.
    """
    if lines[last].rstrip(" \t*_\xa0")[-1:] not in {":", "："}:
        return None
    words, likely = "", None
    for first in range(last, max(-1, last - _LINES_OF_ONE), -1):
        line = lines[first].strip()
        if not line or line.startswith(">"):
            break
        words = f"{line} {words}".rstrip(" \t*_\xa0")
        if len(words) > _REACH:
            break
        flat = words[:-1].rstrip()
        if _is_sure(flat, alone=first == last):
            return _wrapped(lines, first), True
        dated = first == last and (_ADDRESS.search(flat) or _MOMENT.search(flat))
        if likely is None and (dated or _SAID.search(flat)):
            likely = first
    return None if likely is None else (likely, False)


def _wrapped(lines: Sequence[str], first: int) -> int:
    """Return where words really begin that were broken off: "On <date> <name> <" above "<address> wrote:"."""
    above = lines[first - 1].strip() if first else ""
    goes_on = _OPENING.match(above) and _MOMENT.search(above) and above[-1:] not in ".!?:"
    return first - 1 if goes_on else first


def _is_sure(words: str, *, alone: bool) -> bool:
    opens = _OPENING.match(words) is not None
    if _SAID.search(words):
        if _OF_MY_OWN.search(words) or not (opens or alone):
            return False
        return _ADDRESS.search(words) is not None or (opens and _MOMENT.search(words) is not None)
    return opens and _VERBLESS.search(words) is not None and _MOMENT.search(words) is not None
