"""Keys that tests sign with, and the forms in which they are published."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

_MAKE: Mapping[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
_TO_JWK: Mapping[str, Callable[[Any], str]] = {
    "RS256": RSAAlgorithm.to_jwk,
    "ES256": ECAlgorithm.to_jwk,
    "EdDSA": OKPAlgorithm.to_jwk,
}


@dataclass(frozen=True, slots=True)
class Key:
    """A private key with its name."""

    kid: str
    algorithm: str
    private: Any

    def jwk(self) -> dict[str, Any]:
        """Return its public half as it is published."""
        public = json.loads(_TO_JWK[self.algorithm](self.private.public_key()))
        return public | {"kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def pem(self) -> bytes:
        """Return its public half as PEM."""
        return bytes(self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def der(self) -> bytes:
        """Return its public half as DER."""
        return bytes(self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def sign(self, claims: Mapping[str, Any], **headers: Any) -> str:
        """Return a token; a header of None is left out."""
        said = {"kid": self.kid} | headers
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers=said)


@cache
def key(algorithm: str, kid: str = "key-1") -> Key:
    """Return a key, made once for a test process: to make one of RSA takes a while."""
    return Key(kid, algorithm, _MAKE[algorithm]())


def encoded(content: bytes | Mapping[str, Any]) -> str:
    """Return base64url without padding; of an object its JSON."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
