"""Tokens that must be refused, each by the name of its attack; what they are made of is good but for that one thing."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from pipeline.runtime.settings import Settings
from tests.oidc_server.keys import Key, encoded, key
from tests.oidc_server.server import Provider

SECRET = "a shared secret of more than 256 bits, only for tests"
ISSUER, AUDIENCE = "https://dispatch.example", "dispatch-api"
OTHER_ISSUER = "https://people.example"
ACCOUNT, SITE = UUID(int=0xA), UUID(int=0x5)


@dataclass(frozen=True, slots=True)
class Forge:
    """Makes tokens for one moment: by the shared secret, and by the published keys of two issuers."""

    now: datetime

    def at(self, seconds: int) -> int:
        """Return a moment as a token says it."""
        return int((self.now + timedelta(seconds=seconds)).timestamp())

    def shared_claims(self, **changes: Any) -> dict[str, Any]:
        """Return good claims of contract 000; a change to None leaves a claim out."""
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "agent-7",
            "role": "dispatcher",
            "exp": self.at(60),
            "account_ids": [str(ACCOUNT)],
            "site_ids": "*",
        }
        return _without_none(said | changes)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return good claims of an issuer with published keys."""
        said = {"iss": OTHER_ISSUER, "iat": self.at(-5), "nbf": self.at(-5)}
        return _without_none(self.shared_claims() | said | changes)

    def shared(self, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """Return a token by the shared secret."""
        return jwt.encode(self.shared_claims(**changes), SECRET, algorithm="HS256", headers=dict(headers or {}))

    def signed(self, headers: Mapping[str, Any] | None = None, *, by: Key | None = None, **changes: Any) -> str:
        """Return a token by a published key, RS256 unless another one is given."""
        return (by or key("RS256")).sign(self.claims(**changes), **(headers or {}))

    def raw(self, header: str | Mapping[str, Any], claims: str | Mapping[str, Any] | None = None) -> str:
        """Return a token with any text as header and claims, signed by the key of RS256."""
        parts = [header, self.claims() if claims is None else claims]
        body = ".".join(encoded(part.encode() if isinstance(part, str) else part) for part in parts)
        signature = key("RS256").private.sign(body.encode(), padding.PKCS1v15(), SHA256())
        return f"{body}.{encoded(signature)}"

    def hmac(self, secret: bytes, **headers: Any) -> str:
        """Return a token of the RSA issuer, signed by HMAC with anything at all as its secret."""
        header = {"alg": "HS256", "typ": "JWT", "kid": "key-1"} | headers
        body = f"{encoded(header)}.{encoded(self.claims())}"
        return f"{body}.{encoded(hmac.digest(secret, body.encode(), 'sha256'))}"

    def unsigned(self, algorithm: Any, signature: str = "") -> str:
        """Return a token that says it needs no signature."""
        header = {"alg": algorithm, "typ": "JWT", "kid": "key-1"}
        return f"{encoded(header)}.{encoded(self.claims())}.{signature}"


def settings_of(provider: Provider, **changes: Any) -> Settings:
    """Return settings that know the shared secret, an issuer of RS256, and one of ES256 and EdDSA."""
    issuer = {"audience": AUDIENCE, "jwks_url": provider.jwks_url, "organization": "ours"}
    issuers = [
        issuer | {"issuer": OTHER_ISSUER, "algorithms": ["RS256"]},
        issuer | {"issuer": f"{OTHER_ISSUER}/ec", "algorithms": ["ES256", "EdDSA"]},
    ]
    values: dict[str, Any] = {
        "dispatch_auth_jwt_secret": SECRET,
        "dispatch_auth_jwt_issuer": ISSUER,
        "dispatch_auth_jwt_audience": AUDIENCE,
        "jwt_issuers": json.dumps(issuers),
    }
    return Settings(_env_file=None, **(values | changes))  # type: ignore[call-arg]


def _without_none(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not None}


def _header(**changes: Any) -> dict[str, Any]:
    return _without_none({"alg": "RS256", "typ": "JWT", "kid": "key-1"} | changes)


def _foreign(kid: str = "key-1") -> Key:
    return Key(kid, "RS256", key("RS256", "a key of the attacker").private)


def _swapped(forge: Forge) -> str:
    """Return a token whose claims were changed after it was signed."""
    head, _, signature = forge.signed().split(".")
    return f"{head}.{encoded(forge.claims(role='admin'))}.{signature}"


def _resigned(forge: Forge) -> str:
    """Return a token with the signature of another one."""
    body = forge.signed(sub="somebody-else").rpartition(".")[0]
    return f"{body}.{forge.signed().rpartition('.')[2]}"


def _pss(forge: Forge) -> str:
    return jwt.encode(forge.claims(), key("RS256").private, algorithm="PS256", headers={"kid": "key-1"})


def _modulus() -> bytes:
    numbers: rsa.RSAPublicNumbers = key("RS256").private.public_key().public_numbers()
    return numbers.n.to_bytes(256, "big")


def _json(forge: Forge, **texts: str) -> str:
    """Return good claims as JSON, with some values written as they are given; good for what no library writes."""
    said = {name: json.dumps(value) for name, value in forge.claims().items()} | texts
    return "{" + ",".join(f'"{name}":{value}' for name, value in said.items()) + "}"


def _twice(forge: Forge, name: str, value: str) -> str:
    return _json(forge)[:-1] + f',"{name}":{value}}}'


Make = Callable[[Forge], str]
_EC = {"iss": f"{OTHER_ISSUER}/ec"}

#: Nothing is proved: INVALID_AUTH_TOKEN.
TOKENS: Mapping[str, Make] = MappingProxyType(
    {
        # The algorithm.
        "alg none": lambda f: f.unsigned("none"),
        "alg None": lambda f: f.unsigned("None"),
        "alg nOnE": lambda f: f.unsigned("nOnE"),
        "alg NONE with a signature": lambda f: f.unsigned("NONE", f.signed().rpartition(".")[2]),
        "alg none with a blank": lambda f: f.unsigned("none ", "AAAA"),
        "alg empty": lambda f: f.raw(_header(alg="")),
        "alg missing": lambda f: f.raw(_header(alg=None)),
        "alg null": lambda f: f.raw(json.dumps(_header() | {"alg": None})),
        "alg as a list": lambda f: f.raw(_header(alg=["RS256"])),
        "alg in small letters": lambda f: f.raw(_header(alg="rs256")),
        "alg unknown": lambda f: f.raw(_header(alg="RS999")),
        "HS256 by the public key as PEM": lambda f: f.hmac(key("RS256").pem()),
        "HS256 by the public key as PEM without its last line break": lambda f: f.hmac(key("RS256").pem().rstrip()),
        "HS256 by the public key as DER": lambda f: f.hmac(key("RS256").der()),
        "HS256 by the public key as JWK": lambda f: f.hmac(json.dumps(key("RS256").jwk()).encode()),
        "HS256 by the public key as JWK without blanks": lambda f: f.hmac(
            json.dumps(key("RS256").jwk(), separators=(",", ":")).encode()
        ),
        "HS256 by the modulus": lambda f: f.hmac(_modulus()),
        "HS256 by the modulus as written": lambda f: f.hmac(key("RS256").jwk()["n"].encode()),
        "HS256 by nothing": lambda f: f.hmac(b""),
        "HS256 by another secret": lambda f: f.hmac(b"another secret that is long enough to be one"),
        "HS384 by the shared secret": lambda f: jwt.encode(f.shared_claims(), SECRET, algorithm="HS384"),
        "HS512 by the shared secret": lambda f: jwt.encode(f.shared_claims(), SECRET * 2, algorithm="HS512"),
        "RS512 by the right key": lambda f: jwt.encode(
            f.claims(), key("RS256").private, algorithm="RS512", headers={"kid": "key-1"}
        ),
        "PS256 by the right key": _pss,
        "ES256 for an issuer of RS256": lambda f: f.signed(by=key("ES256", "ec-1")),
        "EdDSA for an issuer of RS256": lambda f: f.signed(by=key("EdDSA", "ed-1")),
        "RS256 for an issuer of ES256": lambda f: f.signed(**_EC),
        "RS256 under the key id of a key of ES256": lambda f: f.signed({"kid": "ec-1"}),
        "ES256 under the key id of a key of RS256": lambda f: f.signed(
            {"kid": "key-1"}, by=key("ES256", "ec-1"), **_EC
        ),
        # The signature.
        "no signature": lambda f: f.signed().rpartition(".")[0] + ".",
        "a signature of zeros": lambda f: f.signed(by=key("ES256", "ec-1"), **_EC).rpartition(".")[0] + "." + "A" * 86,
        "a signature cut short": lambda f: f.signed()[:-4],
        "another token's signature": _resigned,
        "claims changed afterwards": _swapped,
        "the attacker's key under a known key id": lambda f: f.signed(by=_foreign()),
        # The key id.
        "kid missing": lambda f: f.raw(_header(kid=None)),
        "kid null": lambda f: f.raw(json.dumps(_header() | {"kid": None})),
        "kid a number": lambda f: f.raw(_header(kid=1)),
        "kid empty": lambda f: f.raw(_header(kid="")),
        "kid unknown": lambda f: f.signed({"kid": "key-99"}),
        "kid a path": lambda f: f.signed({"kid": "../../../../dev/null"}),
        "kid a path, signed by an empty file": lambda f: f.hmac(b"", kid="/dev/null"),
        "kid a statement": lambda f: f.signed({"kid": "' UNION SELECT 'secret' --"}),
        "kid an address": lambda f: f.signed({"kid": "http://attacker.example/jwks"}, by=_foreign("x")),
        "kid of a thousand letters": lambda f: f.signed({"kid": "k" * 1000}),
        # Headers that tell the reader which key to take, or change what is signed.
        "jku to the attacker": lambda f: f.signed({"jku": "https://attacker.example/jwks"}, by=_foreign()),
        "jku beside a good signature": lambda f: f.signed({"jku": "https://attacker.example/jwks"}),
        "x5u to the attacker": lambda f: f.signed({"x5u": "https://attacker.example/cert"}, by=_foreign()),
        "the attacker's key as jwk": lambda f: f.signed({"jwk": _foreign().jwk()}, by=_foreign()),
        "the attacker's certificate as x5c": lambda f: f.signed({"x5c": ["MIIB"]}, by=_foreign()),
        "JKU in capital letters": lambda f: f.signed({"JKU": "https://attacker.example/jwks"}),
        "crit with something unknown": lambda f: f.raw(_header(crit=["exp"])),
        "crit empty": lambda f: f.raw(_header(crit=[])),
        "crit with b64": lambda f: f.raw(_header(crit=["b64"], b64=False)),
        "b64 false without crit": lambda f: f.raw(_header(b64=False)),
        "zip": lambda f: f.raw(_header(zip="DEF")),
        "nested": lambda f: f.raw(_header(cty="JWT"), f.signed()),
        "nested as said by cty": lambda f: f.raw(_header(cty="JWT")),
        "typ of something else": lambda f: f.signed({"typ": "dpop+jwt"}),
        "typ of a logout token": lambda f: f.signed({"typ": "logout+jwt"}),
        "typ missing": lambda f: f.raw(_header(typ=None)),
        "typ null": lambda f: f.raw(json.dumps(_header() | {"typ": None})),
        # Issuer and audience.
        "iss missing": lambda f: f.signed(iss=None),
        "iss unknown": lambda f: f.signed(iss="https://attacker.example"),
        "iss with a slash more": lambda f: f.signed(iss=f"{OTHER_ISSUER}/"),
        "iss as a list": lambda f: f.raw(_header(), f.claims() | {"iss": [OTHER_ISSUER]}),
        "iss of the shared secret, by a published key": lambda f: f.signed(iss=ISSUER),
        "iss of a published key, by the shared secret": lambda f: f.shared(iss=OTHER_ISSUER),
        "aud missing": lambda f: f.signed(aud=None),
        "aud another": lambda f: f.signed(aud="another-api"),
        "aud that begins like ours": lambda f: f.signed(aud=f"{AUDIENCE}-2"),
        "aud a list of others": lambda f: f.signed(aud=["another-api", "a-third"]),
        "aud empty": lambda f: f.signed(aud=[]),
        "aud as an object": lambda f: f.signed(aud={AUDIENCE: True}),
        "aud another, by the shared secret": lambda f: f.shared(aud="another-api"),
        "iss another, by the shared secret": lambda f: f.shared(iss="https://attacker.example"),
        # Times.
        "expired": lambda f: f.signed(exp=f.at(-31)),
        "expired a second ago, by the shared secret": lambda f: f.shared(exp=f.at(-1)),
        "not valid yet": lambda f: f.signed(nbf=f.at(31)),
        "not valid yet, by the shared secret": lambda f: f.shared(nbf=f.at(5)),
        "issued in the future": lambda f: f.signed(iat=f.at(31)),
        # Names that stand there twice.
        "exp twice": lambda f: f.raw(_header(), _twice(f, "exp", str(f.at(9_999)))),
        "iss twice": lambda f: f.raw(_header(), _twice(f, "iss", f'"{OTHER_ISSUER}"')),
        "role twice": lambda f: f.raw(_header(), _twice(f, "role", '"admin"')),
        "role twice, once escaped": lambda f: f.raw(_header(), _twice(f, "\\u0072ole", '"admin"')),
        "a name twice within scope": lambda f: f.raw(
            _header(), _twice(f, "scope", '{"account_ids":"*","account_ids":"*"}')
        ),
        "alg twice": lambda f: f.raw('{"alg":"none","typ":"JWT","kid":"key-1","alg":"RS256"}'),
        "kid twice": lambda f: f.raw('{"alg":"RS256","typ":"JWT","kid":"x","kid":"key-1"}'),
        # The form.
        "a megabyte": lambda f: f.signed(padding="x" * 1_000_000),
        "a little too long": lambda f: f.signed(padding="x" * 6_000),
        "two parts": lambda f: f.signed().rpartition(".")[0],
        "four parts": lambda f: f.signed() + ".AAAA",
        "five parts, as if encrypted": lambda f: f.signed() + ".AAAA.AAAA",
        "padded": lambda f: f.signed() + "==",
        "a blank within": lambda f: f.signed().replace(".", " .", 1),
        "a line break at the end": lambda f: f.signed() + "\n",
        "base64 of the other alphabet": lambda f: f.signed()[:-6] + "+/+/+/",
        "claims no object": lambda f: f.raw(_header(), "[]"),
        "claims nested too deeply": lambda f: f.raw(_header(), "[" * 3_000),
        "claims not UTF-8": lambda f: f.signed().split(".")[0] + "." + encoded(b"\xff\xfe{}") + ".AAAA",
        "header no JSON": lambda f: f.raw("alg=none"),
        "exp no number of JSON": lambda f: f.raw(_header(), _json(f, exp="Infinity")),
        "exp NaN": lambda f: f.raw(_header(), _json(f, exp="NaN")),
    }
)

#: Proved, and it does not say what it must: INVALID_AUTH_CLAIMS.
CLAIMS: Mapping[str, Make] = MappingProxyType(
    {
        "exp missing": lambda f: f.signed(exp=None),
        "exp missing, by the shared secret": lambda f: f.shared(exp=None),
        "exp as text": lambda f: f.raw(_header(), f.claims() | {"exp": "4102444800"}),
        "exp true": lambda f: f.signed(exp=True),
        "exp beyond all time": lambda f: f.signed(exp=10**15),
        "exp beyond all numbers": lambda f: f.raw(_header(), _json(f, exp="1e999")),
        "exp null": lambda f: f.raw(_header(), f.claims() | {"exp": None}),
        "nbf missing": lambda f: f.signed(nbf=None),
        "nbf as text": lambda f: f.raw(_header(), f.claims() | {"nbf": "0"}),
        "iat missing": lambda f: f.signed(iat=None),
        "sub missing": lambda f: f.shared(sub=None),
        "sub blank": lambda f: f.shared(sub=" "),
        "sub a number": lambda f: f.raw(_header(), f.claims() | {"sub": 7}),
        "sub with a null character": lambda f: f.shared(sub="agent\x00"),
        "sub with half a character": lambda f: f.raw(_header(), _json(f, sub='"\\ud800"')),
        "role missing": lambda f: f.shared(role=None),
        "role a list": lambda f: f.shared(role=["admin"]),
        "accounts missing": lambda f: f.shared(account_ids=None),
        "sites missing": lambda f: f.shared(site_ids=None),
        "an account that is no UUID": lambda f: f.shared(account_ids=[str(ACCOUNT), "1 OR 1=1"]),
        "a site that is no UUID": lambda f: f.shared(site_ids="main street"),
        "an account in braces": lambda f: f.shared(account_ids=[f"{{{ACCOUNT}}}"]),
        "an account that is a number": lambda f: f.shared(account_ids=[7]),
        "accounts as an object": lambda f: f.shared(account_ids={"all": True}),
        "accounts said twice": lambda f: f.shared(scope={"account_ids": "*"}),
        "accounts in both numbers": lambda f: f.shared(account_id=str(ACCOUNT)),
        "an actor of no kind": lambda f: f.shared(actor_type="ROOT"),
        "an organization that is no UUID": lambda f: f.shared(org_id="ours"),
    }
)
