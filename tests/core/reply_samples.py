"""Labelled answers and forwards in many languages, written for these tests: each line carries its true kind.

A line begins with `f` (the sender's own words), `q` (quoted) or `s` (signature or footer), then a bar and the line.
Blank lines carry no label. The samples are of what mail programs write, not of what the rules under test can read.
"""

# ruff: noqa: RUF001 - words of other scripts are what it holds

from __future__ import annotations

from dataclasses import dataclass

BODY = "q|the pump in hall 3 stands still\nq|since yesterday, please send somebody."
DATE = "Wed, 4 Mar 2026"


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled text."""

    name: str
    labelled: str
    is_forward: bool = False

    @property
    def text(self) -> str:
        """Return the text as it arrives."""
        return "\n".join(line[2:] for line in self.labelled.split("\n"))

    def lines(self, kind: str) -> list[str]:
        """Return the lines of one kind that are not blank."""
        return [line[2:].strip() for line in self.labelled.split("\n") if line[:1] == kind and line[2:].strip()]


_WORDS = {
    "en": "Thank you, somebody comes today.",
    "de": "Vielen Dank, heute kommt jemand.",
    "fr": "Merci, quelqu'un vient aujourd'hui.",
    "es": "Gracias, hoy va alguien.",
    "it": "Grazie, oggi viene qualcuno.",
    "nl": "Bedankt, er komt vandaag iemand.",
    "pt": "Obrigado, alguém vai hoje.",
    "pl": "Dziękuję, ktoś dzisiaj przyjedzie.",
    "sv": "Tack, någon kommer i dag.",
}

#: "... wrote:" as Gmail, Apple Mail, Thunderbird and Outlook on the web write it.
_ATTRIBUTIONS = {
    "en gmail": f"On {DATE} at 05:06, Ann Miller <ann@customer.example> wrote:",
    "en apple": "On 4 Mar 2026, at 05:06, Ann Miller <ann@customer.example> wrote:",
    "en thunderbird": "On 3/4/26 05:06, Ann Miller wrote:",
    "en wrapped": "On Wed, Mar 4, 2026 at 5:06 AM Ann Miller via Support <\nq|support@acme.example> wrote:",
    "en yahoo": "--- On Wed, 3/4/09, Ann Miller <ann@customer.example> wrote:",
    "en yahoo 2": "On Wednesday, March 4, 2026 at 05:06:07 AM GMT+1, Ann Miller <ann@customer.example> wrote:",
    "de gmail": "Am Mi., 4. März 2026 um 05:06 Uhr schrieb Ann Müller <ann@customer.example>:",
    "de apple": "Am 04.03.2026 um 05:06 schrieb Ann Müller <ann@customer.example>:",
    "de thunderbird": "Am 04.03.26 um 05:06 schrieb Ann Müller:",
    "de name first": "Ann Müller <ann@customer.example> schrieb am Mi., 4. März 2026, 05:06:",
    "de gmx": "Am 04.03.2026 05:06 schrieb ann@customer.example:",
    "fr gmail": "Le mer. 4 mars 2026 à 05:06, Ann Martin <ann@customer.example> a écrit :",
    "fr apple": "Le 4 mars 2026 à 05:06, Ann Martin <ann@customer.example> a écrit :",
    "fr thunderbird": "Le 04/03/2026 à 05:06, Ann Martin a écrit\xa0:",
    "es gmail": "El mié, 4 mar 2026 a las 5:06, Ana García (<ana@customer.example>) escribió:",
    "es apple": "El 4 mar 2026, a las 5:06, Ana García <ana@customer.example> escribió:",
    "es thunderbird": "El 04/03/2026 a las 05:06, Ana García escribió:",
    "it gmail": "Il giorno mer 4 mar 2026 alle ore 05:06 Anna Rossi <anna@customer.example> ha scritto:",
    "it apple": "Il giorno 4 mar 2026, alle ore 05:06, Anna Rossi <anna@customer.example> ha scritto:",
    "it thunderbird": "Il 04/03/2026 05:06, Anna Rossi ha scritto:",
    "nl gmail": "Op wo 4 mrt 2026 om 05:06 schreef Anna de Vries <anna@customer.example>:",
    "nl apple": "Op 4 mrt. 2026, om 05:06 heeft Anna de Vries <anna@customer.example> het volgende geschreven:",
    "nl thunderbird": "Op 04-03-2026 om 05:06 schreef Anna de Vries:",
    "pt gmail": "Em qua., 4 de mar. de 2026 às 05:06, Ana Silva <ana@customer.example> escreveu:",
    "pt apple": "No dia 04/03/2026, às 05:06, Ana Silva <ana@customer.example> escreveu:",
    "pt thunderbird": "Em 04/03/2026 05:06, Ana Silva escreveu:",
    "pl gmail": "śr., 4 mar 2026 o 05:06 Anna Nowak <anna@customer.example> napisał(a):",
    "pl thunderbird": "W dniu 04.03.2026 o 05:06, Anna Nowak pisze:",
    "pl apple": "Wiadomość napisana przez Anna Nowak <anna@customer.example> w dniu 4 mar 2026, o godz. 05:06:",
    "sv gmail": "Den ons 4 mars 2026 kl 05:06 skrev Anna Berg <anna@customer.example>:",
    "sv thunderbird": "Den 2026-03-04 kl. 05:06, skrev Anna Berg:",
    "sv apple": "4 mars 2026 kl. 05:06 skrev Anna Berg <anna@customer.example>:",
    "da gmail": "Den ons. 4. mar. 2026 kl. 05.06 skrev Anna Holm <anna@customer.example>:",
    "no gmail": "ons. 4. mars 2026 kl. 05:06 skrev Anna Dahl <anna@customer.example>:",
    "fi gmail": "ke 4. maalisk. 2026 klo 5.06 Anna Laine (anna@customer.example) kirjoitti:",
    "cs gmail": "st 4. 3. 2026 v 5:06 odesílatel Anna Nová <anna@customer.example> napsal:",
    "cs thunderbird": "Dne 04. 03. 26 v 5:06 Anna Nová napsal(a):",
    "ru gmail": "ср, 4 мар. 2026 г. в 05:06, Анна Иванова <anna@customer.example>:",
    "ru thunderbird": "04.03.2026 05:06, Анна Иванова пишет:",
    "tr gmail": "Anna Kaya <anna@customer.example>, 4 Mar 2026 Çar, 05:06 tarihinde şunu yazdı:",
    "hu gmail": "Anna Kiss <anna@customer.example> ezt írta (időpont: 2026. márc. 4., Sze, 5:06):",
    "ro gmail": "În mie., 4 mar. 2026 la 05:06, Ana Pop <ana@customer.example> a scris:",
    "zh gmail": "Ann Li <ann@customer.example> 于2026年3月4日周三 05:06写道：",
    "ja gmail": "2026年3月4日(水) 5:06 Ann Ito <ann@customer.example>:",
    "ko gmail": "2026년 3월 4일 (수) 오전 5:06, Ann Kim <ann@customer.example>님이 작성:",
}

#: Outlook's header block: the labels of sender, date, recipient and subject, and the line above it.
_BLOCKS = {
    "en": ("From", "Sent", "To", "Subject", "-----Original Message-----"),
    "en 2": ("From", "Date", "To", "Subject", "________________________________"),
    "de": ("Von", "Gesendet", "An", "Betreff", "-----Ursprüngliche Nachricht-----"),
    "de 2": ("Von", "Datum", "An", "Betreff", "________________________________"),
    "fr": ("De", "Envoyé", "À", "Objet", "-----Message d'origine-----"),
    "fr 2": ("De\xa0", "Envoyé\xa0", "À\xa0", "Objet\xa0", "________________________________"),
    "es": ("De", "Enviado el", "Para", "Asunto", "-----Mensaje original-----"),
    "it": ("Da", "Inviato", "A", "Oggetto", "-----Messaggio originale-----"),
    "nl": ("Van", "Verzonden", "Aan", "Onderwerp", "-----Oorspronkelijk bericht-----"),
    "pt": ("De", "Enviada em", "Para", "Assunto", "-----Mensagem original-----"),
    "pl": ("Od", "Wysłano", "Do", "Temat", "-----Oryginalna wiadomość-----"),
    "sv": ("Från", "Skickat", "Till", "Ämne", "-----Ursprungligt meddelande-----"),
    "da": ("Fra", "Sendt", "Til", "Emne", "-----Oprindelig meddelelse-----"),
    "fi": ("Lähettäjä", "Lähetetty", "Vastaanottaja", "Aihe", "-----Alkuperäinen viesti-----"),
    "cs": ("Od", "Odesláno", "Komu", "Předmět", "-----Původní zpráva-----"),
    "ru": ("От", "Отправлено", "Кому", "Тема", "-----Исходное сообщение-----"),
    "tr": ("Kimden", "Gönderildi", "Kime", "Konu", "-----Özgün ileti-----"),
    "zh": ("发件人", "发送时间", "收件人", "主题", "-----原始邮件-----"),
    "ja": ("差出人", "送信日時", "宛先", "件名", "-----元のメッセージ-----"),
}

_FORWARDS = {
    "en gmail": "---------- Forwarded message ---------",
    "en apple": "Begin forwarded message:",
    "en thunderbird": "-------- Forwarded Message --------",
    "de gmail": "---------- Weitergeleitete Nachricht ---------",
    "de apple": "Anfang der weitergeleiteten Nachricht:",
    "de thunderbird": "-------- Weitergeleitete Nachricht --------",
    "fr apple": "Début du message réexpédié :",
    "fr thunderbird": "-------- Message transféré --------",
    "es thunderbird": "-------- Mensaje reenviado --------",
    "es apple": "Inicio del mensaje reenviado:",
    "it thunderbird": "-------- Messaggio Inoltrato --------",
    "it apple": "Inizio messaggio inoltrato:",
    "nl apple": "Begin doorgestuurd bericht:",
    "nl thunderbird": "-------- Doorgestuurd bericht --------",
    "pt thunderbird": "-------- Mensagem encaminhada --------",
    "pl thunderbird": "-------- Wiadomość przekazana dalej --------",
    "sv thunderbird": "-------- Vidarebefordrat meddelande --------",
    "sv apple": "Vidarebefordrat brev:",
}

_MOBILE = (
    "Sent from my iPhone",
    "Sent from my Galaxy",
    "Sent from Yahoo Mail on Android",
    "Sent from Outlook for Android",
    "Sent from Mail for Windows",
    "Sent with Proton Mail secure email.",
    "Get Outlook for iOS",
    "Von meinem iPhone gesendet",
    "Von meinem Samsung Galaxy Smartphone gesendet.",
    "Gesendet von Outlook für Android",
    "Diese Nachricht wurde von meinem Android Mobiltelefon mit GMX Mail gesendet.",
    "Holen Sie sich Outlook für iOS",
    "Envoyé de mon iPhone",
    "Envoyé depuis mon appareil Android",
    "Télécharger Outlook pour iOS",
    "Enviado desde mi iPhone",
    "Obtener Outlook para iOS",
    "Enviado do meu iPhone",
    "Inviato da iPhone",
    "Scarica Outlook per Android",
    "Verstuurd vanaf mijn iPhone",
    "Verzonden vanaf mijn Galaxy",
    "Wysłane z iPhone'a",
    "Skickat från min iPhone",
    "Sendt fra min iPhone",
    "Lähetetty iPhonesta",
    "Отправлено с iPhone",
    "iPhone'umdan gönderildi",
)

_NOTICES = (
    (
        "This e-mail and any attachments are confidential and intended solely for the addressee.\n"
        "s|If you have received it in error, please delete it."
    ),
    "CONFIDENTIALITY NOTICE: The contents of this email are privileged and intended only for the named recipient.",
    (
        "Diese E-Mail enthält vertrauliche Informationen. Wenn Sie nicht der richtige Adressat sind,\n"
        "s|informieren Sie bitte den Absender und vernichten Sie diese E-Mail."
    ),
    "Ce message et ses pièces jointes sont confidentiels et destinés à leur seul destinataire.",
    "Este mensaje es confidencial y va dirigido a su destinatario.",
    "Questo messaggio è riservato ed è destinato esclusivamente ai destinatari indicati.",
    "Dit bericht is vertrouwelijk en alleen bestemd voor de geadresseerde.",
    "Esta mensagem é confidencial e destina-se apenas ao seu destinatário.",
    "Detta meddelande är konfidentiellt och avsett endast för mottagaren.",
)


def _words(name: str) -> str:
    return _WORDS.get(name.partition(" ")[0], _WORDS["en"])


def _quoted() -> str:
    return BODY.replace("q|", "q|> ")


def _attributed() -> list[Sample]:
    above = [Sample(f"{n}, above", f"f|{_words(n)}\n\nq|{a}\n\n{_quoted()}") for n, a in _ATTRIBUTIONS.items()]
    bare = [Sample(f"{n}, without marks", f"f|{_words(n)}\n\nq|{a}\n\n{BODY}") for n, a in _ATTRIBUTIONS.items()]
    below = [Sample(f"{n}, below", f"q|{a}\n{_quoted()}\n\nf|{_words(n)}") for n, a in _ATTRIBUTIONS.items()]
    return above + bare + below


def _block(name: str, kind: str) -> str:
    sender, date, to, subject, _ = _BLOCKS[name]
    return (
        f"{kind}|{sender}: Ann Miller <ann@customer.example>\n{kind}|{date}: {DATE} 05:06\n"
        f"{kind}|{to}: Support <support@acme.example>\n{kind}|{subject}: Pump"
    )


def _outlook() -> list[Sample]:
    samples = []
    for name, (*_, line) in _BLOCKS.items():
        samples += [
            Sample(f"{name} outlook", f"f|{_words(name)}\n\nq|{line}\n{_block(name, 'q')}\n\n{BODY}"),
            Sample(f"{name} outlook, no line", f"f|{_words(name)}\n\n{_block(name, 'q')}\n\n{BODY}"),
            Sample(
                f"{name} outlook, forwarded",
                f"f|{_words(name)}\n\nf|{line}\n{_block(name, 'f')}\n\n{BODY.replace('q|', 'f|')}",
                is_forward=True,
            ),
        ]
    return samples


def _forwarded() -> list[Sample]:
    return [
        Sample(f"{name} forward", f"f|{_words(name)}\n\nf|{line}\n{_block('en 2', 'f')}\n\n{BODY.replace('q|', 'f|')}")
        for name, line in _FORWARDS.items()
    ]


def _signed() -> list[Sample]:
    delimiter = "s|-- \ns|Max Muster\ns|ACME Service, Hauptstr. 1, 10115 Berlin\ns|+49 30 123456"
    attribution = f"q|{_ATTRIBUTIONS['en gmail']}\n{_quoted()}"
    stripped = delimiter.replace("-- ", "--")
    mailman = "s|_______________________________________________\ns|dev mailing list\ns|dev@lists.example"
    return [
        Sample("delimiter", f"f|{_WORDS['de']}\n\n{delimiter}"),
        Sample("delimiter without its blank", f"f|{_WORDS['de']}\n\n{stripped}"),
        Sample("delimiter above a quote", f"f|{_WORDS['en']}\n\n{delimiter}\n\n{attribution}"),
        Sample("delimiter below a quote", f"{attribution}\n\nf|{_WORDS['en']}\n\n{delimiter}"),
        Sample("delimiter and notice", f"f|{_WORDS['en']}\n\n{delimiter}\n\ns|{_NOTICES[0]}"),
        Sample("list footer", f"f|{_WORDS['en']}\n\n{mailman}"),
        Sample("delimiter and list footer", f"f|{_WORDS['en']}\n\n{delimiter}\n{mailman}"),
        *(Sample(f"mobile: {line}", f"f|{_WORDS['en']}\n\ns|{line}") for line in _MOBILE),
        *(Sample(f"mobile above a quote: {line}", f"f|Ok.\n\ns|{line}\n\n{attribution}") for line in _MOBILE[:3]),
        *(Sample(f"notice: {notice[:20]}", f"f|{_WORDS['en']}\n\ns|{notice}") for notice in _NOTICES),
    ]


def _difficult() -> list[Sample]:
    """Return texts that tempt the rules: everything in them is the sender's, or only what is marked is not."""
    attribution = _ATTRIBUTIONS["en gmail"]
    return [
        Sample("plain", "f|Hello,\n\nf|the pump stands still.\n\nf|Best regards,\nf|Ann"),
        Sample("colon", "f|On Monday I wrote:\nf|the pump stands still. Nobody answered."),
        Sample("own words", "f|In 2024 your technician said:\nf|the pump will last ten years. It did not."),
        Sample("own words, german", "f|Am 04.03.2026 schrieb ich Ihnen:\nf|Die Pumpe steht. Keine Antwort."),
        Sample("list of faults", "f|The following parts failed in 2025:\nf|- the pump\nf|- the valve\nf|- the seal"),
        Sample("a form", "f|From: Berlin\nf|To: Hamburg\nf|Date: Monday\n\nf|Please book it."),
        Sample(
            "a web form", "f|Name: Ann\nf|Email: ann@customer.example\nf|Subject: Pump\nf|Message: It stands still."
        ),
        Sample("time range", "f|Open from: 08:00\nf|to: 17:00\nf|Please call before."),
        Sample(
            "a table",
            "f|Part      Price\nf|--------------------\nf|Pump        100\nf|--------------------\nf|Total 100",
        ),
        Sample("dashes", "f|First topic.\nf|--\n" + "\n".join(f"f|Line {n} of a long letter." for n in range(40))),
        Sample("iphone", "f|The photo sent from my iPhone shows the leak.\n\nf|Please look at it."),
        Sample("iphone in the middle", "f|Sent from my iPhone\n\n" + "\n".join(f"f|Word {n}." for n in range(6))),
        Sample("confidential", "f|Please keep this confidential.\n\nf|The pump of our secret plant stands still."),
        Sample("an arrow", "f|Switch to menu > settings > pump\nf|and press the button."),
        Sample("mbox escape", "f|>From the beginning the pump was loud.\n\nf|Now it is silent."),
        Sample("log", "f|ERROR: pump 3: no pressure\nf|WARN: From: sensor\nf|INFO: To: valve\n\nf|What does it mean?"),
        Sample(
            "interleaved",
            f"q|{attribution}\nq|> Which pump is it?\n\nf|The one in hall 3.\n\nq|> Since when?\n\nf|Since yesterday.",
        ),
        Sample("interleaved without blanks", f"q|{attribution}\nq|> Which pump?\nf|Hall 3.\nq|> Since when?\nf|Today."),
        Sample("nested", "f|Yes.\n\nq|> Ok?\nq|>> It stands.\nq|>>> Which one?\nq|> >> The third."),
        Sample("initials", "f|Yes.\n\nq|AM> Is it the third?\nq|AM> I think so."),
        Sample(
            "answers under an original message",
            "q|-----Original Message-----\nq|From: Ann [mailto:ann@customer.example]\nq|Sent: Monday\nq|To: Support\n"
            "q|Subject: Pump\n\nq|> It stands still.\n\nf|We come today.",
        ),
        Sample(
            "help desk",
            "f|It still drips.\n\nq|##- Please type your reply above this line -##\nq|Ticket 42 was updated.",
        ),
        Sample(
            "bold labels",
            f"f|Done.\n\n{_block('en', 'q').replace('From:', '*From:*').replace('To:', '*To:*')}\n\n{BODY}",
        ),
        Sample("two threads", f"f|Done.\n\n{_block('en', 'q')}\n\n{BODY}\n\n{_block('de', 'q')}\n\n{BODY}"),
        Sample(
            "cc and importance",
            "f|Done.\n\nq|From: Ann <ann@customer.example>\nq|Sent: Monday\nq|To: Support; Max Muster;\n"
            "q|  Someone Else\n"
            f"q|Cc: Boss\nq|Subject: Pump\nq|Importance: High\n\n{BODY}",
        ),
    ]


SAMPLES: tuple[Sample, ...] = (*_attributed(), *_outlook(), *_forwarded(), *_signed(), *_difficult())
