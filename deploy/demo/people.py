"""Who writes: customers of several languages, the company's own staff, strangers. All on example domains (RFC 2606)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Person:
    """A correspondent; `language` picks the words, `signature` stands below a mail."""

    name: str
    address: str
    language: str
    signature: str


_NAMES = {
    "en": (
        (
            "Amelia Hart",
            "Noah Whitfield",
            "Priya Raman",
            "Tom O'Shea",
            "Grace Okafor",
            "Liam Castellan",
            "Ruth Adeyemi",
        ),
        ("Jack Sorrel", "Ivy Penhallow", "Omar Haddad", "Nina Brandt", "Caleb Stroud", "Wendy Lau", "Felix Marlowe"),
    ),
    "de": (("Jörg Müller", "Käthe Schröder", "Uwe Groß"), ("Björn Weiß", "Sabine Hüttner", "Änne Köhler")),
    "fr": (("Hélène Lefèvre", "François Dubœuf", "Zoé Garçon"), ("Théo Mérimée", "Anaïs Noël")),
    "pl": (("Łukasz Wiśniewski", "Małgorzata Żak"), ("Paweł Dąbrowski", "Zofia Świątek")),
    "ja": (("佐藤 健一", "鈴木 陽子"), ("高橋 直樹", "田中 美咲")),
}
_LOCAL_PARTS = {"ja": ("k.sato", "y.suzuki", "n.takahashi", "m.tanaka")}
_SHARES = {"en": 150, "de": 34, "fr": 22, "pl": 14, "ja": 12}
_DOMAINS = (
    "example.com", "example.net", "clinic.example.com", "parkhaus.example.com", "metro-mall.example.com",
    "harbour-logistics.example.net", "fleet.example.net", "campus.example.com", "hotel-ufer.example.net",
)  # fmt: skip
_ROLES = ("Facility Manager", "Site Lead", "Night Shift", "Fleet Coordinator", "Tenant", "Reception", "Security Desk")
_STAFF = ("Mara Quist", "Devon Ames", "Ilse Norgaard", "Ravi Pillai", "Tess Calloway")
_ASCII = str.maketrans(
    {"ö": "oe", "ä": "ae", "ü": "ue", "ß": "ss", "Ä": "Ae", "é": "e", "è": "e", "ç": "c", "œ": "oe", "ë": "e", "ï": "i",
     "ł": "l", "Ł": "L", "ś": "s", "Ś": "S", "ą": "a", "ż": "z", "Ż": "Z", "ę": "e", "'": "", " ": "."}
)  # fmt: skip


def make_customers(rng: Random) -> tuple[Person, ...]:
    """Return a few hundred customers, every address its own."""
    return tuple(
        _customer(rng, language, number) for language, share in _SHARES.items() for number in range(1, share + 1)
    )


def _customer(rng: Random, language: str, number: int) -> Person:
    pool = [name for group in _NAMES[language] for name in group]
    index = rng.randrange(len(pool))
    local = _LOCAL_PARTS[language][index] if language in _LOCAL_PARTS else pool[index].translate(_ASCII).lower()
    domain = rng.choice(_DOMAINS)
    role, extension = rng.choice(_ROLES), rng.randrange(1000, 9999)
    signature = f"-- \n{pool[index]}\n{role}, {domain.split('.', maxsplit=1)[0]}\nTel. +1 512 555 {extension}"
    return Person(pool[index], f"{local}{number}@{domain}", language, signature)


def make_staff(organization: str, shared: str) -> tuple[Person, ...]:
    """Return the company's people: some write from the `shared` address, some from their own."""
    own = [(name, f"{name.lower().replace(' ', '.')}@example.org") for name in _STAFF[3:]]
    desk = [(f"{name} ({organization})", shared) for name in _STAFF[:3]]
    return tuple(
        Person(name, address, "en", f"-- \n{name}\n{organization}, Service Desk\nTel. +1 512 555 0100")
        for name, address in desk + own
    )
