"""OAuth: refresh-token and service-account grants, the tokens they give, and credential files."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Collection
from urllib.parse import parse_qsl

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.gmail_server.errors import unauthenticated

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SERVICE_ACCOUNT = "sync@test-project.iam.gserviceaccount.com"
_GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
_MAX_ASSERTION_LIFE = 3600 + 60
_SKEW = 300


class OAuthError(Exception):
    """A grant is refused; `body` is what the token endpoint answers with 400 (RFC 6749 5.2)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.body = orjson.dumps({"error": error, "error_description": description})


class Tokens:
    """Access tokens given out and who they stand for.

    Their life is counted in real seconds: client libraries renew some minutes early by their own clock.
    """

    def __init__(self, addresses: Collection[str]) -> None:
        self.lifetime = 3600
        self._addresses = addresses
        self._access: dict[str, tuple[str, float]] = {}
        self._revoked: set[str] = set()
        self._count = 0
        self._private_key: str | None = None

    def refresh_token(self, address: str) -> str:
        """The refresh token of a user; the same one for as long as the address is."""
        return "1//" + base64.urlsafe_b64encode(address.lower().encode()).decode("ascii").rstrip("=")

    def issue(self, address: str) -> str:
        """A new access token."""
        self._count += 1
        token = f"ya29.{self._count:x}-{binascii.crc32(address.encode()):08x}"
        self._access[token] = (address.lower(), time.monotonic() + self.lifetime)
        return token

    def address_of(self, authorization: str) -> str:
        """Whose `Authorization` header that is. ApiError 401 when unknown, expired or revoked."""
        scheme, _, token = authorization.partition(" ")
        address, expires = self._access.get(token.strip(), ("", 0.0))
        if scheme.lower() != "bearer" or expires <= time.monotonic() or address in self._revoked:
            raise unauthenticated()
        return address

    def expire(self) -> None:
        """Make every access token invalid; refreshing still works."""
        self._access.clear()

    def revoke(self, address: str) -> None:
        """Take consent away: calls answer 401, grants answer invalid_grant."""
        self._revoked.add(address.lower())

    def restore(self, address: str) -> None:
        """Give consent back."""
        self._revoked.discard(address.lower())

    def subject(self, body: bytes, token_uri: str) -> str:
        """The address a token request is for. OAuthError when it is malformed or of an unknown grant type."""
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        grant = form.get("grant_type")
        if grant == "refresh_token":
            if not form.get("client_id"):
                raise OAuthError("invalid_client", "The OAuth client was not found.")
            return self._refreshed(form.get("refresh_token", ""))
        if grant == JWT_GRANT:
            return _assertion_subject(form.get("assertion", ""), token_uri)
        raise OAuthError("unsupported_grant_type", f"Invalid grant_type: {grant}")

    def grant(self, address: str) -> bytes:
        """The answer to a good token request. OAuthError invalid_grant when the user is unknown or revoked."""
        if address in self._revoked:
            raise OAuthError("invalid_grant", "Token has been expired or revoked.")
        if address not in self._addresses and address != SERVICE_ACCOUNT:
            raise OAuthError("invalid_grant", "Invalid email or User ID")
        return orjson.dumps(
            {
                "access_token": self.issue(address),
                "expires_in": self.lifetime,
                "scope": "https://mail.google.com/",
                "token_type": "Bearer",
            }
        )

    def authorized_user(self, address: str, token_uri: str) -> dict[str, str]:
        """The content of an `authorized_user` credentials file."""
        return {
            "type": "authorized_user",
            "account": address,
            "client_id": "test-client.apps.googleusercontent.com",
            "client_secret": "test-secret",
            "refresh_token": self.refresh_token(address),
            "token_uri": token_uri,
        }

    def service_account(self, token_uri: str) -> dict[str, str]:
        """The content of a `service_account` credentials file with a key made for this server."""
        if self._private_key is None:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            self._private_key = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode("ascii")
        return {
            "type": "service_account",
            "project_id": "test-project",
            "private_key_id": "test-key",
            "private_key": self._private_key,
            "client_email": SERVICE_ACCOUNT,
            "client_id": "100000000000000000001",
            "token_uri": token_uri,
        }

    def _refreshed(self, token: str) -> str:
        address = next((known for known in self._addresses if self.refresh_token(known) == token), None)
        if address is None:
            raise OAuthError("invalid_grant", "Bad Request")
        return address


def _assertion_subject(assertion: str, token_uri: str) -> str:
    """Whom a JWT assertion acts for (RFC 7523 3); its form and claims are checked, its signature is not."""
    parts = assertion.split(".")
    if len(parts) != 3 or not all(parts):
        raise OAuthError("invalid_grant", "Invalid JWT: it must have three parts")
    header, claims = _json_part(parts[0]), _json_part(parts[1])
    if header.get("alg") != "RS256":
        raise OAuthError("invalid_grant", "Invalid JWT: alg must be RS256")
    if not claims.get("iss") or not claims.get("scope"):
        raise OAuthError("invalid_grant", "Invalid JWT: iss and scope are required")
    if claims.get("aud") not in {token_uri, _GOOGLE_AUDIENCE}:
        raise OAuthError("invalid_grant", "Invalid JWT: wrong audience")
    issued, expires, now = claims.get("iat", 0), claims.get("exp"), time.time()
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        raise OAuthError("invalid_grant", "Invalid JWT: iat and exp must be numbers")
    if expires <= now or issued > now + _SKEW or expires - now > _MAX_ASSERTION_LIFE + _SKEW:
        text = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
        raise OAuthError("invalid_grant", text)
    return str(claims.get("sub") or claims["iss"]).lower()


def _json_part(part: str) -> dict[str, object]:
    try:
        value = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError as error:
        raise OAuthError("invalid_grant", "Invalid JWT: a part is not base64url of JSON") from error
    if not isinstance(value, dict):
        raise OAuthError("invalid_grant", "Invalid JWT: a part is not an object")
    return value
