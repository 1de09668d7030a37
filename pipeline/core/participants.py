"""Whom a message is believed from: people and organizations as tokens, so that a reference alone opens no ticket."""

from __future__ import annotations

from collections.abc import Collection, Iterable

_PUBLIC = """
    126.com 139.com 163.com 189.cn aim.com aliyun.com aol.com att.net bellsouth.net bigpond.com bluewin.ch bol.com.br
    btinternet.com charter.net comcast.net cox.net duck.com earthlink.net email.com fastmail.com fastmail.fm
    foxmail.com free.fr freenet.de gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.net googlemail.com hey.com hotmail.co.uk
    hotmail.com hotmail.de hotmail.es hotmail.fr hotmail.it hushmail.com icloud.com inbox.lv inbox.ru juno.com
    laposte.net libero.it list.ru live.co.uk live.com live.nl mac.com mail.com mail.de mail.ru mailbox.org me.com
    msn.com naver.com netscape.net ntlworld.com o2.pl online.de optonline.net orange.fr outlook.com outlook.de
    outlook.es outlook.fr pm.me posteo.de proton.me protonmail.ch protonmail.com qq.com rambler.ru rediffmail.com
    rocketmail.com sbcglobal.net seznam.cz sfr.fr shaw.ca sina.com sky.com sohu.com t-online.de tiscali.it tuta.io
    tutanota.com uol.com.br verizon.net virgilio.it virginmedia.com wanadoo.fr web.de windowslive.com wp.pl yahoo.ca
    yahoo.co.in yahoo.co.jp yahoo.co.uk yahoo.com yahoo.com.br yahoo.de yahoo.es yahoo.fr yahoo.in yahoo.it yandex.com
    yandex.ru ymail.com zoho.com zohomail.com
"""
#: Domains that many strangers share: there the whole address is the person, elsewhere the domain is.
PUBLIC_DOMAINS = frozenset(_PUBLIC.split())
#: Stands for all of us: our mailboxes, sending addresses and domains. One word, so that a new mailbox changes no key.
US = "us"
#: Stands for the readers of a message that names none.
NOBODY_NAMED = "nobody"


def token(address: str) -> str:
    """Return whom an address (lower case) stands for: `@domain`, or the address itself at a public provider.

    A colleague at a customer's company may answer for the customer; a stranger with the same provider may not.
    """
    domain = address.rpartition("@")[2]
    if not domain or domain == address or domain in PUBLIC_DOMAINS:
        return address
    return f"@{domain}"


def people(addresses: Iterable[str], own: Collection[str]) -> tuple[str, ...]:
    """Return the distinct tokens of addresses, in order; those among `own` are us."""
    found = (token(address) for address in addresses if address)
    return tuple(dict.fromkeys(US if one in own else one for one in found))


def outside(tokens: Iterable[str]) -> tuple[str, ...]:
    """Return the tokens that are not us: everybody who writes to us has us."""
    return tuple(found for found in tokens if found != US)
