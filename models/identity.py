"""People, what they may do in which organization and how far that reaches, and every way they prove who they are."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from models.base import created, key, metadata, word
from models.enums import NoticeKind, Reach, SessionKind

#: A person is one over all organizations; nothing of a password but its argon2 hash is kept.
people = Table(
    "people",
    metadata,
    key(),
    Column("email", Text),
    #: Digits with a leading +, as dialled from anywhere (E.164).
    Column("phone", Text),
    Column("full_name", Text, nullable=False, server_default=text("''")),
    Column("password_hash", Text),
    Column("password_changed_at", DateTime(timezone=True)),
    #: Wrong passwords in a row, and until when no password is looked at (contract 004: 423).
    Column("failed_logins", SmallInteger, nullable=False, server_default=text("0")),
    Column("locked_until", DateTime(timezone=True)),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    Column("erased_at", DateTime(timezone=True)),
    created(),
    CheckConstraint("email = lower(email)", name="email_lower"),
    CheckConstraint("erased_at IS NOT NULL OR num_nonnulls(email, phone) > 0", name="reachable"),
    Index("uq_people_email", "email", unique=True, postgresql_where=text("email IS NOT NULL")),
    Index("uq_people_phone", "phone", unique=True, postgresql_where=text("phone IS NOT NULL")),
)

#: Who somebody is to an OpenID provider or another issuer of tokens.
identities = Table(
    "identities",
    metadata,
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    created(),
    PrimaryKeyConstraint("issuer", "subject"),
    Index(None, "person_id"),
)

#: Those without an organization are built in and the same for all; an organization may have its own beside them.
roles = Table(
    "roles",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id")),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    #: Other names by which contracts and tokens call it.
    Column("aliases", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    created(),
    UniqueConstraint("org_id", "code", postgresql_nulls_not_distinct=True),
    CheckConstraint("code ~ '^[a-z][a-z0-9_]{0,62}$'", name="code_plain"),
)

#: Read at every request: a changed row works at once. A permission that this version does not know permits nothing.
role_permissions = Table(
    "role_permissions",
    metadata,
    Column("role_id", Uuid, ForeignKey("roles.id", ondelete="CASCADE"), nullable=False),
    Column("permission", Text, nullable=False),
    PrimaryKeyConstraint("role_id", "permission"),
)

#: Customers, whose sites and tickets are (contract 000).
accounts = Table(
    "accounts",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    created(),
    UniqueConstraint("org_id", "name"),
    CheckConstraint("name <> ''", name="name_not_blank"),
)

#: Places of an account; a zone is a site seen by a technician (contracts 000 and 004).
sites = Table(
    "sites",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("account_id", Uuid, ForeignKey("accounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("address1", Text, nullable=False, server_default=text("''")),
    Column("address2", Text),
    Column("city", Text, nullable=False, server_default=text("''")),
    Column("region", Text),
    Column("postal_code", Text),
    Column("country", Text, nullable=False, server_default=text("'US'")),
    Column("timezone", Text, nullable=False, server_default=text("'UTC'")),
    Column("access_instructions", Text),
    #: Which technicians come here; NULL where any may.
    Column("zone", Text),
    Column("lat", Double),
    Column("lon", Double),
    created(),
    UniqueConstraint("account_id", "name"),
    CheckConstraint("name <> ''", name="name_not_blank"),
    CheckConstraint("lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180", name="on_earth"),
    CheckConstraint("(lat IS NULL) = (lon IS NULL)", name="position_whole"),
    Index(None, "org_id"),
)

#: One person in one organization: role, reach, and what assignment needs to know of them.
memberships = Table(
    "memberships",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    Column("role_id", Uuid, ForeignKey("roles.id"), nullable=False),
    word("reach", Reach, Reach.ORGANIZATION),
    Column("team_id", Uuid, ForeignKey("teams.id")),
    Column("reports_to_id", Uuid, ForeignKey("people.id")),
    Column("skills", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    #: Open tickets that may be given to them by rules; NULL for any number.
    Column("capacity", Integer),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    created(),
    UniqueConstraint("org_id", "person_id"),
    CheckConstraint("capacity > 0", name="capacity_positive"),
    CheckConstraint("reach <> 'team' OR team_id IS NOT NULL", name="team_when_reached"),
    Index(None, "person_id"),
    Index(None, "role_id"),
)

#: The accounts or sites that a membership reaches, where its reach is one of these.
membership_scopes = Table(
    "membership_scopes",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("membership_id", Uuid, ForeignKey("memberships.id", ondelete="CASCADE"), nullable=False),
    Column("account_id", Uuid, ForeignKey("accounts.id")),
    Column("site_id", Uuid, ForeignKey("sites.id")),
    CheckConstraint("num_nonnulls(account_id, site_id) = 1", name="one_place"),
    UniqueConstraint("membership_id", "account_id", "site_id", postgresql_nulls_not_distinct=True),
)

#: Cookie sessions and families of refresh tokens: both end when this row says so.
sessions = Table(
    "sessions",
    metadata,
    key(),
    word("kind", SessionKind),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    #: SHA-256 of the cookie's 256 random bits; NULL for a family, whose tokens have rows of their own.
    Column("token_hash", LargeBinary, unique=True),
    created(),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("ended_because", Text),
    CheckConstraint("(kind = 'cookie') = (token_hash IS NOT NULL)", name="hash_for_cookies"),
    Index("ix_sessions_person_going", "person_id", postgresql_where=text("ended_at IS NULL")),
    Index(None, "expires_at"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    key(),
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True)),
    Column("successor_id", Uuid),
    CheckConstraint("(used_at IS NULL) = (successor_id IS NULL)", name="successor_when_used"),
    Index(None, "session_id"),
)

#: Tokens for cron and scripts; they may no more than their role, and no more than the person who made them.
api_tokens = Table(
    "api_tokens",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    Column("role_id", Uuid, ForeignKey("roles.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    #: Its last four characters, so that people tell tokens apart.
    Column("hint", Text, nullable=False),
    created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("revoked_by", Text),
    CheckConstraint("name <> ''", name="name_not_blank"),
    Index("uq_api_tokens_name", "org_id", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
)

reset_tokens = Table(
    "reset_tokens",
    metadata,
    key(),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True)),
    Index(None, "person_id"),
)

#: Wrong passwords for names that nobody has: they are locked as people are, so that a lock tells nothing.
unknown_logins = Table(
    "unknown_logins",
    metadata,
    Column("identifier_sha256", LargeBinary, primary_key=True),
    Column("failed", SmallInteger, nullable=False, server_default=text("0")),
    Column("locked_until", DateTime(timezone=True)),
    Column("tried_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "tried_at"),
)

#: One OpenID login that was begun; used once.
login_states = Table(
    "login_states",
    metadata,
    Column("state_hash", LargeBinary, primary_key=True),
    #: Nonce and verifier (RFC 7636), sealed.
    Column("sealed", LargeBinary, nullable=False),
    Column("return_to", Text, nullable=False, server_default=text("'/'")),
    created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index(None, "expires_at"),
)

#: What is told to people themselves; written in the transaction that makes it necessary, sent by a stage.
notices = Table(
    "notices",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id")),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    word("kind", NoticeKind),
    Column("recipient", Text, nullable=False),
    #: What it says, sealed: it may hold a link that lets somebody in. Taken away when it is sent.
    Column("sealed", LargeBinary),
    created(),
    Column("sent_at", DateTime(timezone=True)),
    Column("last_error", Text),
    Index("ix_notices_unsent", "created_at", postgresql_where=text("sent_at IS NULL")),
)
