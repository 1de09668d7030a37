"""Understanding mail: keys that say whom they believe, merges that can be undone, replies, quarantine, search."""

# Deploys roll: the version before works on. It writes keys of the old form, which this version does not read, so
# `fieldpost reprocess start stitch` shows afterwards what it joined or kept apart differently.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

#: Columns whose words grew, with the words of this version and of the one before.
_WORDS = (
    (
        "ticket_messages",
        "reason",
        "'new_ticket', 'reply_token', 'in_reply_to', 'references', 'referenced_by', 'provider_thread', "  # noqa: ISC004
        "'subject', 'delivery_report', 'outbound_send', 'person'",
        "'new_ticket', 'reply_token', 'in_reply_to', 'references', 'referenced_by', 'provider_thread'",
    ),
    (
        "occurrence_recipients",
        "source",
        "'workspace_header', 'delivered_to', 'x_original_to', 'to_cc_scan', 'envelope_to', 'unknown'",
        "'workspace_header', 'delivered_to', 'x_original_to', 'to_cc_scan', 'unknown'",
    ),
    ("message_references", "kind", "'in_reply_to', 'references', 'reported'", "'in_reply_to', 'references'"),
)

#: Keys of the new form for every message that stands in a ticket (`pipeline.core.thread_keys`): its own id as its
#: author's, for each of its people and for us; what it answers as a message of those it is addressed to, for its
#: sender; of list mail for everybody on it; of a provider's thread for its outside people; and what reports on our mail.
_KEYS = r"""
    WITH ours AS (
        SELECT DISTINCT org_id, CASE WHEN split_part(address, '@', -1) = ANY(CAST(:public AS text[]))
                                     THEN address ELSE '@' || split_part(address, '@', -1) END AS token FROM mailboxes
    ), linked AS (
        SELECT l.org_id, l.ticket_id, l.linked_at, l.message_id, m.rfc_message_id, m.direction, m.machine
          FROM ticket_messages l JOIN messages m ON m.id = l.message_id
    ), tokens AS (
        SELECT l.org_id, a.message_id, a.role,
               CASE WHEN strpos(a.address, '@') = 0 OR split_part(a.address, '@', -1) = ANY(CAST(:public AS text[]))
                    THEN a.address ELSE '@' || split_part(a.address, '@', -1) END AS token
          FROM message_addresses a JOIN linked l USING (message_id) WHERE a.position < 100
    ), people AS (
        SELECT t.message_id, t.role, CASE WHEN o.token IS NULL THEN t.token ELSE 'us' END AS token
          FROM tokens t LEFT JOIN ours o ON o.org_id = t.org_id AND o.token = t.token
    ), circles AS (
        SELECT l.message_id, p.token FROM linked l JOIN people p USING (message_id)
         WHERE l.machine = 'mailing_list' AND p.role IN ('to', 'cc') AND p.token <> 'us'
        UNION ALL
        SELECT l.message_id, 'nobody' FROM linked l
         WHERE l.direction = 'inbound' AND l.machine IS DISTINCT FROM 'mailing_list'
           AND NOT EXISTS (SELECT FROM people p WHERE p.message_id = l.message_id AND p.role IN ('to', 'cc'))
           AND NOT EXISTS (SELECT FROM occurrences o JOIN occurrence_recipients e ON e.occurrence_id = o.id
                            WHERE o.message_id = l.message_id AND e.source <> 'unknown')
    ), offers AS (
        SELECT a.message_id, a.token AS author, w.token AS voice
          FROM people a
          JOIN (SELECT message_id, token FROM people UNION SELECT message_id, 'us' FROM linked) w USING (message_id)
         WHERE a.role = 'from'
            OR (a.role = 'reply_to'
                AND EXISTS (SELECT FROM people f WHERE f.message_id = a.message_id AND f.role = 'from' AND f.token = 'us'))
        UNION SELECT message_id, 'circle', token FROM circles
    ), claims AS (
        SELECT v.message_id, a.token AS author, v.token AS voice
          FROM (SELECT message_id, token FROM people WHERE role = 'from'
                 UNION SELECT message_id, 'us' FROM linked WHERE direction = 'outbound') v
          JOIN (SELECT message_id, token FROM people WHERE role IN ('from', 'to', 'cc')
                 UNION SELECT message_id, 'us' FROM linked) a USING (message_id)
        UNION SELECT message_id, 'circle', token FROM circles
    ), outsiders AS (
        SELECT p.message_id, p.token, p.role = 'from' AS is_sender FROM people p
         WHERE p.role IN ('from', 'to', 'cc') AND p.token <> 'us'
    ), counterparts AS (
        SELECT l.message_id, o.token FROM linked l JOIN outsiders o USING (message_id)
         WHERE o.is_sender = (l.direction = 'inbound'
                              AND EXISTS (SELECT FROM outsiders s WHERE s.message_id = l.message_id AND s.is_sender))
        UNION
        SELECT l.message_id, p.token FROM linked l JOIN people p ON p.message_id = l.message_id AND p.role = 'from'
         WHERE NOT EXISTS (SELECT FROM outsiders o WHERE o.message_id = l.message_id)
    ), keys AS (
        SELECT l.org_id, l.ticket_id, l.linked_at, concat_ws(chr(10), 'id:' || l.rfc_message_id, o.author, o.voice) AS said
          FROM linked l JOIN offers o USING (message_id) WHERE l.rfc_message_id IS NOT NULL
        UNION ALL
        SELECT l.org_id, l.ticket_id, l.linked_at, concat_ws(chr(10), 'id:' || r.reference, c.author, c.voice)
          FROM linked l JOIN message_references r USING (message_id) JOIN claims c USING (message_id)
        UNION ALL
        SELECT l.org_id, l.ticket_id, l.linked_at,
               concat_ws(chr(10), 'thread:' || o.mailbox_id || ':' || o.thread_id, c.token)
          FROM linked l JOIN occurrences o ON o.message_id = l.message_id AND o.thread_id IS NOT NULL
          JOIN counterparts c ON c.message_id = l.message_id
        UNION ALL
        SELECT l.org_id, l.ticket_id, l.linked_at, 'report:' || l.rfc_message_id FROM linked l
         WHERE l.rfc_message_id IS NOT NULL
           AND (l.direction = 'outbound'
                OR EXISTS (SELECT FROM people p WHERE p.message_id = l.message_id AND p.role = 'from' AND p.token = 'us'))
    )
    INSERT INTO thread_keys (org_id, digest, ticket_id)
    SELECT DISTINCT ON (org_id, digest) org_id, digest, ticket_id
      FROM (SELECT org_id, ticket_id, linked_at, substring(sha256(convert_to(said, 'UTF8')) FROM 1 FOR 16) AS digest
              FROM keys) AS made
     ORDER BY org_id, digest, linked_at
        ON CONFLICT DO NOTHING
"""
#: The public providers as they were known when this was written: a migration never changes.
_PUBLIC = """
    126.com 139.com 163.com 189.cn aim.com aliyun.com aol.com att.net bellsouth.net bigpond.com bluewin.ch
    bol.com.br btinternet.com charter.net comcast.net cox.net duck.com earthlink.net email.com fastmail.com
    fastmail.fm foxmail.com free.fr freenet.de gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.net googlemail.com
    hey.com hotmail.co.uk hotmail.com hotmail.de hotmail.es hotmail.fr hotmail.it hushmail.com icloud.com
    inbox.lv inbox.ru juno.com laposte.net libero.it list.ru live.co.uk live.com live.nl mac.com mail.com
    mail.de mail.ru mailbox.org me.com msn.com naver.com netscape.net ntlworld.com o2.pl online.de optonline.net
    orange.fr outlook.com outlook.de outlook.es outlook.fr pm.me posteo.de proton.me protonmail.ch
    protonmail.com qq.com rambler.ru rediffmail.com rocketmail.com sbcglobal.net seznam.cz sfr.fr shaw.ca
    sina.com sky.com sohu.com t-online.de tiscali.it tuta.io tutanota.com uol.com.br verizon.net virgilio.it
    virginmedia.com wanadoo.fr web.de windowslive.com wp.pl yahoo.ca yahoo.co.in yahoo.co.jp yahoo.co.uk
    yahoo.com yahoo.com.br yahoo.de yahoo.es yahoo.fr yahoo.in yahoo.it yandex.com yandex.ru ymail.com zoho.com
    zohomail.com
"""


def _hold(table: str, column: str, words: str) -> None:
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{column}_legal")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{column}_legal CHECK ({column} IN ({words})) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT ck_{table}_{column}_legal")


def upgrade() -> None:
    """Apply; the keys first, since they take long and nothing that others need is locked yet."""
    op.get_bind().execute(sa.text(_KEYS), {"public": _PUBLIC.split()})
    for table, column, now, _ in _WORDS:
        _hold(table, column, now)
    op.create_table(
        "attachment_texts",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('done', 'unsupported', 'too_large', 'failed')", name=op.f("ck_attachment_texts_state_legal")
        ),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_attachment_texts_org_id")),
        sa.PrimaryKeyConstraint("org_id", "sha256", name=op.f("pk_attachment_texts")),
    )
    op.create_table(
        "message_search",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", postgresql.TSVECTOR(), nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_message_search_message_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_message_search_org_id")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_message_search")),
    )
    op.create_index("ix_message_search_document", "message_search", ["document"], unique=False, postgresql_using="gin")
    op.create_table(
        "reprocessings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("mailbox_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="comparing", nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.Text(), nullable=True),
        sa.Column("total", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("seen", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("applied", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("applied_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state IN ('applied', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_reprocessings_finished_when_over"),
        ),
        sa.CheckConstraint("kind IN ('parse', 'stitch', 'routing')", name=op.f("ck_reprocessings_kind_legal")),
        sa.CheckConstraint(
            "state IN ('comparing', 'compared', 'applying', 'applied', 'cancelled')",
            name=op.f("ck_reprocessings_state_legal"),
        ),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=op.f("fk_reprocessings_mailbox_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_reprocessings_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reprocessings")),
    )
    op.create_index(op.f("ix_reprocessings_org_id_id"), "reprocessings", ["org_id", "id"], unique=False)
    op.create_index(
        "uq_reprocessings_running",
        "reprocessings",
        ["org_id", "kind"],
        unique=True,
        postgresql_where=sa.text("state IN ('comparing', 'applying')"),
    )
    op.create_table(
        "send_identities",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("mailbox_id", sa.Uuid(), nullable=False),
        sa.Column("from_email", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'verified', 'failed')", name=op.f("ck_send_identities_status_legal")),
        sa.CheckConstraint("from_email = lower(from_email)", name=op.f("ck_send_identities_from_email_lower")),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=op.f("fk_send_identities_mailbox_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_send_identities_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_send_identities")),
        sa.UniqueConstraint("org_id", "from_email", name=op.f("uq_send_identities_org_id_from_email")),
    )
    op.create_index(op.f("ix_send_identities_mailbox_id"), "send_identities", ["mailbox_id"], unique=False)
    op.create_table(
        "outbound",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("mailbox_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("request_key", sa.Text(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("handed_over", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("handed_over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("bounced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bounce_message_id", sa.BigInteger(), nullable=True),
        sa.Column("bounce_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name=op.f("ck_outbound_sent_at_when_sent")),
        sa.CheckConstraint("kind IN ('reply', 'acknowledgement')", name=op.f("ck_outbound_kind_legal")),
        sa.CheckConstraint(
            "state IN ('queued', 'sending', 'sent', 'unknown', 'failed', 'cancelled')",
            name=op.f("ck_outbound_state_legal"),
        ),
        sa.ForeignKeyConstraint(["bounce_message_id"], ["messages.id"], name=op.f("fk_outbound_bounce_message_id")),
        sa.ForeignKeyConstraint(["identity_id"], ["send_identities.id"], name=op.f("fk_outbound_identity_id")),
        sa.ForeignKeyConstraint(["mailbox_id"], ["mailboxes.id"], name=op.f("fk_outbound_mailbox_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_outbound_message_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_outbound_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbound")),
        sa.UniqueConstraint("message_id", name=op.f("uq_outbound_message_id")),
    )
    op.create_index(
        "ix_outbound_recipient", "outbound", ["org_id", "recipient", sa.literal_column("created_at DESC")], unique=False
    )
    op.create_index(
        "ix_outbound_unfinished",
        "outbound",
        ["state", "created_at"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('sent', 'cancelled')"),
    )
    op.create_index(
        "uq_outbound_request_key",
        "outbound",
        ["org_id", "created_by", "request_key"],
        unique=True,
        postgresql_where=sa.text("request_key IS NOT NULL"),
    )
    op.create_table(
        "quarantines",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("occurrence_id", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("released_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "cause IN ('loop', 'answers_back', 'thread_rate', 'poison_mail')", name=op.f("ck_quarantines_cause_legal")
        ),
        sa.CheckConstraint(
            "(released_at IS NULL) = (released_by IS NULL)", name=op.f("ck_quarantines_released_by_somebody")
        ),
        sa.ForeignKeyConstraint(["occurrence_id"], ["occurrences.id"], name=op.f("fk_quarantines_occurrence_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_quarantines_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantines")),
    )
    op.create_index(
        "ix_quarantines_open_list",
        "quarantines",
        ["org_id", "id"],
        unique=False,
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_index(
        "uq_quarantines_open",
        "quarantines",
        ["occurrence_id"],
        unique=True,
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_table(
        "regroupings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("other_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("actor", sa.Text(), server_default=sa.text("'system'"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('merge', 'split')", name=op.f("ck_regroupings_kind_legal")),
        sa.CheckConstraint("(undone_at IS NULL) = (undone_by IS NULL)", name=op.f("ck_regroupings_undone_by_somebody")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_regroupings_org_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_regroupings_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_regroupings")),
    )
    op.create_index("ix_regroupings_other_ids", "regroupings", ["other_ids"], unique=False, postgresql_using="gin")
    op.create_index(op.f("ix_regroupings_ticket_id"), "regroupings", ["ticket_id"], unique=False)
    op.create_table(
        "reprocessed",
        sa.Column("reprocessing_id", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("changes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["reprocessing_id"], ["reprocessings.id"], name=op.f("fk_reprocessed_reprocessing_id")),
        sa.PrimaryKeyConstraint("reprocessing_id", "subject", name=op.f("pk_reprocessed")),
    )
    op.create_table(
        "held_apart",
        sa.Column("org_id", sa.Uuid(), nullable=False),
        sa.Column("one_id", sa.Uuid(), nullable=False),
        sa.Column("other_id", sa.Uuid(), nullable=False),
        sa.Column("regrouping_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one_id < other_id", name=op.f("ck_held_apart_in_order")),
        sa.ForeignKeyConstraint(["one_id"], ["tickets.id"], name=op.f("fk_held_apart_one_id")),
        sa.ForeignKeyConstraint(["org_id"], ["organizations.id"], name=op.f("fk_held_apart_org_id")),
        sa.ForeignKeyConstraint(["other_id"], ["tickets.id"], name=op.f("fk_held_apart_other_id")),
        sa.ForeignKeyConstraint(["regrouping_id"], ["regroupings.id"], name=op.f("fk_held_apart_regrouping_id")),
        sa.PrimaryKeyConstraint("one_id", "other_id", name=op.f("pk_held_apart")),
    )
    op.create_index(op.f("ix_held_apart_org_id"), "held_apart", ["org_id"], unique=False)
    op.create_index(op.f("ix_held_apart_other_id"), "held_apart", ["other_id"], unique=False)
    op.create_table(
        "regrouped",
        sa.Column("regrouping_id", sa.BigInteger(), nullable=False),
        sa.Column("from_ticket_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("work_order_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("num_nonnulls(message_id, work_order_id) = 1", name=op.f("ck_regrouped_one_thing")),
        sa.ForeignKeyConstraint(["from_ticket_id"], ["tickets.id"], name=op.f("fk_regrouped_from_ticket_id")),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_regrouped_message_id")),
        sa.ForeignKeyConstraint(["regrouping_id"], ["regroupings.id"], name=op.f("fk_regrouped_regrouping_id")),
        sa.ForeignKeyConstraint(["work_order_id"], ["work_orders.id"], name=op.f("fk_regrouped_work_order_id")),
    )
    op.create_index(op.f("ix_regrouped_regrouping_id"), "regrouped", ["regrouping_id"], unique=False)
    op.add_column("occurrence_recipients", sa.Column("message_id", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE occurrence_recipients r SET message_id = o.message_id FROM occurrences o WHERE o.id = r.occurrence_id"
    )
    op.create_foreign_key(
        op.f("fk_occurrence_recipients_message_id"), "occurrence_recipients", "messages", ["message_id"], ["id"]
    )
    op.create_index(op.f("ix_occurrence_recipients_message_id"), "occurrence_recipients", ["message_id"], unique=False)
    op.add_column("message_contents", sa.Column("fresh_text", sa.Text(), nullable=True))
    op.create_index(
        "ix_message_references_reference",
        "message_references",
        [sa.literal_column("hashtextextended(reference, 0)")],
        unique=False,
    )
    op.add_column("messages", sa.Column("list_id", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("forwarded_from", sa.Text(), nullable=True))
    op.create_index(
        "ix_messages_rfc_message_id",
        "messages",
        ["org_id", sa.literal_column("hashtextextended(rfc_message_id, 0)")],
        unique=False,
        postgresql_where=sa.text("rfc_message_id IS NOT NULL"),
    )
    op.add_column("ticket_messages", sa.Column("rejected", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column(
        "ticket_messages", sa.Column("rules_version", sa.SmallInteger(), server_default=sa.text("1"), nullable=False)
    )
    op.add_column(
        "ticket_messages", sa.Column("is_pinned", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.drop_index(op.f("ix_ticket_messages_ticket_id"), table_name="ticket_messages")
    op.create_index(
        op.f("ix_ticket_messages_ticket_id_linked_at"), "ticket_messages", ["ticket_id", "linked_at"], unique=False
    )
    op.alter_column("ticket_messages", "linked_at", server_default=sa.text("clock_timestamp()"))
    op.create_index(
        "ix_tickets_merged_into",
        "tickets",
        ["merged_into"],
        unique=False,
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.add_column("tickets", sa.Column("routing", postgresql.JSONB(astext_type=sa.Text()), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.execute(
        "UPDATE ticket_messages SET reason = 'new_ticket'"
        " WHERE reason IN ('subject', 'delivery_report', 'outbound_send', 'person')"
    )
    op.execute("DELETE FROM message_references WHERE kind = 'reported'")
    op.execute("UPDATE occurrence_recipients SET source = 'to_cc_scan' WHERE source = 'envelope_to'")
    for table, column, _, before in _WORDS:
        _hold(table, column, before)
    op.drop_column("tickets", "routing")
    op.drop_index("ix_tickets_merged_into", table_name="tickets", postgresql_where=sa.text("merged_into IS NOT NULL"))
    op.alter_column("ticket_messages", "linked_at", server_default=sa.text("now()"))
    op.drop_index(op.f("ix_ticket_messages_ticket_id_linked_at"), table_name="ticket_messages")
    op.create_index(op.f("ix_ticket_messages_ticket_id"), "ticket_messages", ["ticket_id"], unique=False)
    op.drop_column("ticket_messages", "is_pinned")
    op.drop_column("ticket_messages", "rules_version")
    op.drop_column("ticket_messages", "rejected")
    op.drop_index(
        "ix_messages_rfc_message_id", table_name="messages", postgresql_where=sa.text("rfc_message_id IS NOT NULL")
    )
    op.drop_column("messages", "forwarded_from")
    op.drop_column("messages", "list_id")
    op.drop_index("ix_message_references_reference", table_name="message_references")
    op.drop_index(op.f("ix_occurrence_recipients_message_id"), table_name="occurrence_recipients")
    op.drop_column("occurrence_recipients", "message_id")
    op.drop_column("message_contents", "fresh_text")
    op.drop_index(op.f("ix_regrouped_regrouping_id"), table_name="regrouped")
    op.drop_table("regrouped")
    op.drop_index(op.f("ix_held_apart_other_id"), table_name="held_apart")
    op.drop_index(op.f("ix_held_apart_org_id"), table_name="held_apart")
    op.drop_table("held_apart")
    op.drop_table("reprocessed")
    op.drop_index(op.f("ix_regroupings_ticket_id"), table_name="regroupings")
    op.drop_index("ix_regroupings_other_ids", table_name="regroupings", postgresql_using="gin")
    op.drop_table("regroupings")
    op.drop_index("uq_quarantines_open", table_name="quarantines", postgresql_where=sa.text("released_at IS NULL"))
    op.drop_index("ix_quarantines_open_list", table_name="quarantines", postgresql_where=sa.text("released_at IS NULL"))
    op.drop_table("quarantines")
    op.drop_index("uq_outbound_request_key", table_name="outbound", postgresql_where=sa.text("request_key IS NOT NULL"))
    op.drop_index("ix_outbound_recipient", table_name="outbound")
    op.drop_table("outbound")
    op.drop_index(op.f("ix_send_identities_mailbox_id"), table_name="send_identities")
    op.drop_table("send_identities")
    op.drop_index(
        "uq_reprocessings_running",
        table_name="reprocessings",
        postgresql_where=sa.text("state IN ('comparing', 'applying')"),
    )
    op.drop_index(op.f("ix_reprocessings_org_id_id"), table_name="reprocessings")
    op.drop_table("reprocessings")
    op.drop_index("ix_message_search_document", table_name="message_search", postgresql_using="gin")
    op.drop_table("message_search")
    op.drop_table("attachment_texts")
