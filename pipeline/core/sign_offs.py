"""Where a signature begins: the delimiter, mobile programs' lines, footers of lists, legal notices."""

# ruff: noqa: RUF001 - words of other scripts are what it holds

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_LONGEST = {"-- ": 25, "--": 12, "—": 8}  # lines that follow each delimiter; a longer text is no signature
_FOOTER_LINES = 15
_MOBILE_LINES = 3
_MOBILE_LENGTH = 120
_NOTICE_LINES = 80
_LINE_LENGTH = 400


def _any(words: str) -> str:
    return "|".join(" ".join(word.split()) for word in words.replace("\n", " ").split("|"))


_DEVICES = (
    "iphone", "ipad", "ipod", "android", "galaxy", "samsung", "huawei", "xiaomi", "pixel", "blackberry", "nokia",
    "smartphone", "handy", "mobil", "móvil", "cellulare", "telefon", "phone", "tablet", "outlook", "yahoo", "windows",
    "gmx", "web.de", "aol", "proton", "spark", "fairphone", "apple watch", "телефон", "thunderbird", "手机", "手機",
    "mail",
)  # fmt: skip
_DEVICE = rf"(?:{'|'.join(map(re.escape, _DEVICES))})\w{{0,12}}"
_SENDING = (
    "sent ", "gesendet", "envoy", "enviad", "enviat", "inviat", "verzonden", "verstuurd", "skickat", "sendt", "wysłan",
    "lähetetty", "odeslán", "отправлено", "trimis", "outlook", "gönderildi", "küldve", "iphone", "从", "從", "发自",
)  # fmt: skip
_MOBILE = re.compile(
    rf"[-*_ ]{{0,4}}(?:"
    rf"(?:sent|gesendet|diese nachricht wurde|envoyé|envoyée|enviado|enviada|inviato|verzonden|verstuurd|skickat|sendt"
    rf"|wysłan[eoay]|lähetetty|odeslán[oay]|отправлено|trimis|enviat) "
    rf"(?:from|via|with|using|mit|von|vom|aus|depuis|de|à partir|desde|do|da|dal|dallo|con|vanaf|met|från|fra|z|ze|ot|с"
    rf"|из|pelo|din|des|dem)\b.{{0,40}}\b{_DEVICE}.{{0,40}}"
    rf"|(?:von|vom) (?:meinem|unterwegs|mobil).{{0,40}}{_DEVICE}.{{0,30}} gesendet"
    rf"|(?:lähetetty|küldve|gönderildi) .{{0,40}}{_DEVICE}.{{0,30}}|.{{0,40}}{_DEVICE}.{{0,20}} gönderildi"
    rf"|(?:get|download|holen sie sich|hol dir|télécharge[rz]?|obtenir|obtener|obtenha|obter|scarica|ottieni|hämta"
    rf"|pobierz|hent|hanki)? ?"
    rf"outlook (?:for|für|pour|para|per|voor|för|til|dla) (?:ios|android|mac).{{0,30}}"
    rf"|(?:从|從|來自|发自).{{0,20}}(?:iphone|ipad|android|手机|手機).{{0,20}}|iphoneから送信|나의 iphone에서 보냄"
    rf")[.!]?",
    re.IGNORECASE,
)
_RULER = re.compile(r"[_=~*-]{16,}|-{4,}~+[->]*|_{4,}\s?[_ ]*")
_LIST_WORDS = (
    "mailing list", "mailman/", "listinfo", "unsubscri", "to subscribe", "yahoo! groups", "groups sponsor",
    "do you yahoo", "free download", "list archive", "liste de diffusion", "mailingliste", "google groups", "abmelden",
    "désabonner", "desuscribir", "msn ", "hotmail", "sponsored",
)  # fmt: skip
_UNSUBSCRIBE = re.compile(
    r"to (?:unsubscribe|stop receiving)|you received this (?:message|email) because", re.IGNORECASE
)
# A notice speaks of secrecy and of whom it is meant for; one of both is talk.
_SECRET = (
    "confidential", "privileged", "vertraulich", "confidentiel", "confidencial", "riservat", "vertrouwelijk",
    "konfidentiell", "fortrolig", "poufn", "důvěrn", "luottamuksellis", "конфиденциальн", "gizli", "bizalmas",
)  # fmt: skip
_MEANT = re.compile(
    r"intended (?:only|solely|for)|intended recipient|addressee|unauthori[sz]ed|(?:in|by) error|disclos"
    r"|empfänger|adressat|destinatár|irrtümlich|unbefugt|destinataire|par erreur|destinatari|por error|por engano"
    r"|per errore|geadresseerde|mottagare|modtager|mottaker|adresat|odbiorc|příjemce|vastaanottaja|адресат|получател"
    r"|alıcı|címzett",
    re.IGNORECASE,
)
_NOTICE_OPENS = re.compile(
    r"[\s*_#!-]{0,6}(?:(?:legal |confidentiality |privacy )?(?:notice|disclaimer)\b"
    r"|(?:this|the information|the contents?|any|important|confidential\w*|internet)\b"
    r"|dies[ers]{1,2} |der inhalt|die information|wichtig|hinweis"
    r"|ce (?:message|courriel|mail)|cet |les informations|est[ea] |la informaci|aviso"
    r"|quest[oa] |le informazioni|avviso|dit (?:bericht|e-?mail)|de informatie|deze "
    r"|detta |denna |denne |t[ae]n? |niniejsz|tento |tato |tämä |это |данное |bu )",
    re.IGNORECASE,
)


def begin(lines: Sequence[str]) -> int | None:
    """Return the line where the signature of a text begins, None when it has none.

    The signature reaches to the end of the lines: legal notices, list footers, a mobile program's line and what stands
    below "-- " (RFC 3676 section 4.3), each only when it is short enough to be one.
    """
    end = len(lines)
    for look in _looks(lines):
        found = look(lines[:end])
        if found is not None:
            end = found
    return end if end < len(lines) else None


def _looks(lines: Sequence[str]) -> list[Callable[[Sequence[str]], int | None]]:
    """Return the rules that the words near the end call for; most texts call for none."""
    words = "\n".join(("", *(line[:_LINE_LENGTH] for line in lines[-_NOTICE_LINES:]))).lower()
    looks: list[Callable[[Sequence[str]], int | None]] = []
    if _any_of(_SECRET, words):
        looks.append(_notice)
    if _any_of(_LIST_WORDS, words):
        looks += [_footer, _footer]
    mobile = [_mobile] if _any_of(_SENDING, words) else []
    delimiter = [_delimiter] if "\n--" in words or "\n\u2014" in words else []
    return [*looks, *mobile, *delimiter, *mobile]


def _any_of(listed: Sequence[str], words: str) -> bool:
    return any(word in words for word in listed)


def _delimiter(lines: Sequence[str]) -> int | None:
    following = 0
    found = None
    for position in range(len(lines) - 1, -1, -1):
        line = lines[position]
        mark = "-- " if line.rstrip("\r") == "-- " else line.strip()
        if mark in _LONGEST and following <= _LONGEST[mark]:
            found = position
        following += bool(line.strip())
        if following > max(_LONGEST.values()):
            break
    return found


def _mobile(lines: Sequence[str]) -> int | None:
    for position, _ in _from_the_end(lines)[: _MOBILE_LINES + 1]:
        line = lines[position].strip()
        if len(line) <= _MOBILE_LENGTH and _any_of(_SENDING, line.lower()) and _MOBILE.fullmatch(line):
            return position
    return None


def _footer(lines: Sequence[str]) -> int | None:
    """Return where a footer of a list begins: below a ruler, or where it says how to leave the list."""
    tells = False
    for position, following in _from_the_end(lines):
        line = lines[position].strip()[:_LINE_LENGTH]
        if following > _FOOTER_LINES:
            return None
        if tells and _RULER.fullmatch(line):
            return position
        if _UNSUBSCRIBE.match(line):
            return _above_ruler(lines, position)
        tells = tells or _any_of(_LIST_WORDS, line.lower())
    return None


def _above_ruler(lines: Sequence[str], position: int) -> int:
    above = next((at for at in range(position - 1, max(-1, position - 3), -1) if lines[at].strip()), position)
    return above if _RULER.fullmatch(lines[above].strip()[:_LINE_LENGTH]) or lines[above].strip() == "--" else position


def _notice(lines: Sequence[str]) -> int | None:
    """Return where the paragraphs of a legal notice begin that reach to the end."""
    found = None
    end = len(lines)
    for position in range(len(lines) - 1, max(-1, len(lines) - 1 - _NOTICE_LINES), -1):
        if (
            position == 0
            or not lines[position - 1].strip()
            or _RULER.fullmatch(lines[position - 1].strip()[:_LINE_LENGTH])
        ):
            paragraph = " ".join(lines[position:end])[: 20 * _LINE_LENGTH]
            if paragraph.strip():
                if not _is_notice(paragraph):
                    break
                found, end = position, position
    return found


def _is_notice(paragraph: str) -> bool:
    return (
        _NOTICE_OPENS.match(paragraph) is not None
        and _any_of(_SECRET, paragraph.lower())
        and _MEANT.search(paragraph) is not None
    )


def _from_the_end(lines: Sequence[str]) -> list[tuple[int, int]]:
    """Return the last lines that are not blank, last first, each with how many of them follow it."""
    filled = (position for position in range(len(lines) - 1, -1, -1) if lines[position].strip())
    return [(position, following) for following, position in zip(range(_FOOTER_LINES + 2), filled, strict=False)]
