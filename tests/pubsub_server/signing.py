"""The keys and tokens of push requests, as Google makes them."""

from __future__ import annotations

import time
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ISSUER = "https://accounts.google.com"
ACCOUNT = "push@test-project.iam.gserviceaccount.com"
_LIFE_SECONDS = 3600


class Signer:
    """Signs with its newest key; its key set holds the newest, and older ones when they were kept."""

    def __init__(self) -> None:
        self._keys: dict[str, rsa.RSAPrivateKey] = {}
        self._count = 0
        self.rotate()

    def rotate(self, *, keep: bool = False) -> str:
        """Sign with a new key from now on; answers its id. Without `keep` the older ones leave the key set."""
        self._count += 1
        kid = f"key-{self._count}"
        made = {kid: rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self._keys = (self._keys if keep else {}) | made
        return kid

    @property
    def kid(self) -> str:
        """The newest key's id."""
        return list(self._keys)[-1]

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        """The newest public key."""
        return self._keys[self.kid].public_key()

    def jwks(self) -> bytes:
        """The public keys as a JWK set."""
        keys = [
            RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "use": "sig", "alg": "RS256"}
            for kid, key in self._keys.items()
        ]
        return orjson.dumps(
            {"keys": [{name: value for name, value in key.items() if name != "key_ops"} for key in keys]}
        )

    def claims(self, audience: str, account: str = ACCOUNT, **changes: Any) -> dict[str, Any]:
        """The claims of a push token; a change to None leaves the claim out."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "azp": "113774264463038321964",
            "sub": "113774264463038321964",
            "email": account,
            "email_verified": True,
            "iat": now,
            "exp": now + _LIFE_SECONDS,
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(
        self, audience: str, account: str = ACCOUNT, *, headers: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """A signed push token."""
        key = self._keys[self.kid]
        return jwt.encode(
            self.claims(audience, account, **changes), key, "RS256", headers={"kid": self.kid} | (headers or {})
        )
