"""A real identity provider over HTTP for tests: OpenID Connect's code flow, and a JWKS with keys that change."""

from __future__ import annotations
