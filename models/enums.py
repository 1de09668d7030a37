"""Every word that a column may hold; the tables' CHECK constraints are made from these."""

from __future__ import annotations

from enum import StrEnum


class Provider(StrEnum):
    """Where a mailbox lives."""

    GMAIL = "gmail"
    FILES = "files"
    IMAP = "imap"


class MailboxState(StrEnum):
    """Whether a mailbox may be synchronised."""

    ACTIVE = "active"
    PROBING = "probing"  #: the breaker's pause is over: only history may ask, and its answer decides
    PAUSED = "paused"
    SUSPENDED = "suspended"  #: the provider closed it; asked again by itself
    BLOCKED = "blocked"  #: its domain forbids it; an administrator must act
    AUTH_REQUIRED = "auth_required"


class OccurrenceState(StrEnum):
    """How far one sighting of a message has come; the completeness ledger counts these (architecture, section 4)."""

    SEEN = "seen"
    FETCHED = "fetched"
    PARSED = "parsed"
    STITCHED = "stitched"
    ROUTED = "routed"
    GONE = "gone"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


class RecipientSource(StrEnum):
    """Which header named the original recipient (contract 001)."""

    WORKSPACE_HEADER = "workspace_header"
    DELIVERED_TO = "delivered_to"
    X_ORIGINAL_TO = "x_original_to"
    TO_CC_SCAN = "to_cc_scan"
    ENVELOPE_TO = "envelope_to"  #: a header of the delivering server that the contract does not name
    UNKNOWN = "unknown"


class Confidence(StrEnum):
    """How far evidence is trusted (contract 001)."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class MachineKind(StrEnum):
    """What kind of machine wrote a message."""

    LOOP = "loop"  #: our own automatic mail, or mail that circles
    BOUNCE = "bounce"  #: a report that a message was not (yet) delivered: RFC 3464
    AUTO_REPLY = "auto_reply"  #: an automatic answer to one message: RFC 3834
    MAILING_LIST = "mailing_list"  #: sent through a list: RFC 2919
    BULK = "bulk"  #: sent to many
    NOTIFICATION = "notification"  #: a machine's own message, such as an alarm: RFC 3834 "auto-generated"


class Direction(StrEnum):
    """Which way a message travelled."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class AddressRole(StrEnum):
    """The header an address stood in."""

    FROM = "from"
    TO = "to"
    CC = "cc"
    REPLY_TO = "reply_to"


class ReferenceKind(StrEnum):
    """The header a reference stood in (RFC 5322, 3.6.4)."""

    IN_REPLY_TO = "in_reply_to"
    REFERENCES = "references"
    REPORTED = "reported"  #: the message that a delivery report speaks of (RFC 3464); never used to stitch


class BlobKind(StrEnum):
    """What a stored content is."""

    RAW = "raw"
    ATTACHMENT = "attachment"
    EVIDENCE = "evidence"  #: proof of field work, and its small pictures
    DOCUMENT = "document"  #: what we print, like invoices


class Disposition(StrEnum):
    """How an attachment asked to be shown (RFC 2183)."""

    ATTACHMENT = "attachment"
    INLINE = "inline"


class TicketStatus(StrEnum):
    """The conversation's status (contract 001)."""

    NEW = "new"
    OPEN = "open"
    PENDING = "pending"
    RESOLVED = "resolved"
    CLOSED = "closed"
    SPAM = "spam"
    MERGED = "merged"


class DispatchState(StrEnum):
    """Where the work of a ticket stands (contract 000)."""

    NEW = "NEW"
    NEEDS_INFO = "NEEDS_INFO"
    TRIAGED = "TRIAGED"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
    READY_TO_SCHEDULE = "READY_TO_SCHEDULE"
    SCHEDULE_PROPOSED = "SCHEDULE_PROPOSED"
    SCHEDULED = "SCHEDULED"
    PENDING_CUSTOMER_CONFIRMATION = "PENDING_CUSTOMER_CONFIRMATION"
    DISPATCHED = "DISPATCHED"
    ON_SITE = "ON_SITE"
    IN_PROGRESS = "IN_PROGRESS"
    ON_HOLD = "ON_HOLD"
    COMPLETED_PENDING_VERIFICATION = "COMPLETED_PENDING_VERIFICATION"
    VERIFIED = "VERIFIED"
    INVOICED = "INVOICED"
    CLOSED = "CLOSED"
    CANCELLED = "CANCELLED"


class TicketPriority(StrEnum):
    """How soon a ticket wants an answer (contract 001)."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"


class StitchReason(StrEnum):
    """Why a message stands in its ticket."""

    NEW_TICKET = "new_ticket"
    REPLY_TOKEN = "reply_token"  # noqa: S105 - a reason, not a secret
    IN_REPLY_TO = "in_reply_to"
    REFERENCES = "references"
    REFERENCED_BY = "referenced_by"
    PROVIDER_THREAD = "provider_thread"
    SUBJECT = "subject"  #: the same subject between the same people within the window, where that is switched on
    DELIVERY_REPORT = "delivery_report"  #: a bounce of a message that we sent
    OUTBOUND = "outbound_send"  #: we wrote it in this ticket (contract 001)
    PERSON = "person"  #: somebody put it there


class RegroupingKind(StrEnum):
    """What was done to tickets as wholes."""

    MERGE = "merge"  #: several became one
    SPLIT = "split"  #: some messages became a ticket of their own


class QuarantineCause(StrEnum):
    """Why a message was set aside before it could reach a ticket's people."""

    LOOP = "loop"  #: our own automatic mail came back, or mail that circles
    ANSWERS_BACK = "answers_back"  #: its sender answers every automatic answer of ours
    THREAD_RATE = "thread_rate"  #: its ticket and its sender answer each other faster than people do
    POISON = "poison_mail"  #: reading it ended the process that read it, again and again


class SendIdentityStatus(StrEnum):
    """Whether an address may be written from (contract 001)."""

    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"


class OutboundKind(StrEnum):
    """Who wrote a message that we send."""

    REPLY = "reply"  #: a person
    ACKNOWLEDGEMENT = "acknowledgement"  #: the desk itself: "we have it"
    VISIT = "visit"  #: the desk itself: when somebody comes, with an invitation (RFC 5545)


class OutboundState(StrEnum):
    """Where a message stands that we send."""

    QUEUED = "queued"
    SENDING = "sending"  #: handed over once; whether it left must be looked up before it is handed over again
    SENT = "sent"
    UNKNOWN = "unknown"  #: nobody can tell whether it left: a person decides
    FAILED = "failed"  #: refused for good; nothing left
    CANCELLED = "cancelled"


class ExtractionState(StrEnum):
    """What became of reading the text of an attachment."""

    DONE = "done"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    FAILED = "failed"


class ReprocessKind(StrEnum):
    """Which step is done anew with what is stored."""

    PARSE = "parse"
    STITCH = "stitch"
    ROUTING = "routing"


class ReprocessState(StrEnum):
    """How far a repetition has come; nothing changes before a person applies it."""

    COMPARING = "comparing"
    COMPARED = "compared"
    APPLYING = "applying"
    APPLIED = "applied"
    CANCELLED = "cancelled"


class TriageMode(StrEnum):
    """How cases are scored (contract 003)."""

    BASELINE = "baseline"
    CERTAINTY = "certainty"


class SignalSource(StrEnum):
    """Where a signal came from: contract 003's sources, and mail."""

    CHARGER_API = "charger_api"
    CITY_311 = "311"
    UGC = "ugc"
    MAIL = "mail"


class SignalStatus(StrEnum):
    """What a signal says of its asset (contract 003)."""

    DOWN = "down"
    DEGRADED = "degraded"
    ONLINE = "online"
    UNKNOWN = "unknown"


class CaseState(StrEnum):
    """Whether a case still gathers signals."""

    OPEN = "open"
    CLOSED = "closed"


class CaseEnd(StrEnum):
    """Why a case gathers no more signals."""

    RESOLVED = "resolved"  #: its work is done
    FALSE_ALARM = "false_alarm"  #: a person looked, and nothing was wrong
    QUIET = "quiet"  #: nothing was heard of it for long


class AssessedBecause(StrEnum):
    """What made a case be assessed."""

    SIGNALS = "signals"
    VERIFICATION = "verification"
    POLICY = "policy"


class AssetOrigin(StrEnum):
    """How an asset came into the registry."""

    REGISTRY = "registry"
    SIGNAL = "signal"  #: something reported an asset that nobody had entered


class ExtractedBy(StrEnum):
    """How a signal's asset was recognised."""

    API = "api"  #: the report named it
    NAME = "name"  #: its tag, name or alias stands in the text
    PATTERN = "pattern"  #: a pattern of the organization found its tag
    FUZZY = "fuzzy"  #: a name that is nearly written so
    SITE = "site"  #: the sender's site has this one alone


class PolicyState(StrEnum):
    """Where a version of a triage policy stands."""

    DRAFT = "draft"
    SHADOW = "shadow"  #: computed beside, decides nothing
    ACTIVE = "active"
    RETIRED = "retired"


class TruthSource(StrEnum):
    """Who found out whether something was wrong, the most reliable last."""

    VERIFICATION = "verification"
    FIELD = "field"
    QC = "qc"
    PERSON = "person"


class RecommendedAction(StrEnum):
    """What a case asks for (contract 003)."""

    DISPATCH = "dispatch_field_tech"
    RESET = "remote_reset"
    VERIFY = "needs_verification"


class RootCause(StrEnum):
    """What the words of the signals point to (contract 003); on equal hits the earlier member wins."""

    PAYMENT_TERMINAL = "payment_terminal"
    CONNECTOR = "connector"
    NETWORK = "network"
    UNKNOWN = "unknown"


class GridStress(StrEnum):
    """Stress level derived from the priority (contract 003)."""

    NORMAL = "normal"
    ELEVATED = "elevated"
    HIGH = "high"


class TaskStatus(StrEnum):
    """Whether a verification task is answered (contract 003); superseded ones were not needed any more."""

    OPEN = "open"
    DONE = "done"
    SUPERSEDED = "superseded"


class TaskResult(StrEnum):
    """What a verification found (contract 003)."""

    CONFIRMED_ISSUE = "confirmed_issue"
    FALSE_ALARM = "false_alarm"
    NEEDS_MORE_DATA = "needs_more_data"


class WorkPolicy(StrEnum):
    """By which rules a work order is worked: one model, two policies (architecture, section 5)."""

    FIELD = "field"  #: contract 004: proof by photo, return, outsourcing
    WORKSHOP = "workshop"  #: contract 002: review, work sessions, quality control, rework


class WorkOrderState(StrEnum):
    """Where a work order stands. Contract 004 says these in capitals, contract 002 as they are."""

    CREATED = "created"  #: field: nobody is named yet
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    RETURNED = "returned"  #: field: the technician gave it back, with a reason
    OUTSOURCED = "outsourced"  #: field: somebody who is not ours does it
    UNDER_REVIEW = "under_review"  #: workshop: what it takes is not agreed to yet
    NEW = "new"  #: workshop: reviewed
    WAITING_QC = "waiting_qc"
    REWORK = "rework"
    DONE = "done"
    CANCELLED = "cancelled"


class ParentState(StrEnum):
    """Whether a failed checklist keeps its ride closed (contract 004)."""

    HELD = "held"
    RELEASED = "released"


class PhotoKind(StrEnum):
    """What a photo of a work order shows (contract 004)."""

    ISSUE = "ISSUE"
    COMPLETION = "COMPLETION"
    RETURN = "RETURN"  #: why it was given back


class Platform(StrEnum):
    """What kind of device gets pushes."""

    ANDROID = "android"
    IOS = "ios"
    WEB = "web"


class NotificationKind(StrEnum):
    """What somebody is told of work (contract 004; the last four are ours)."""

    ASSIGNED = "WO_ASSIGNED"
    REASSIGNED = "WO_REASSIGNED"
    DUE_SOON = "WO_DUE_SOON"
    OVERDUE = "WO_OVERDUE"
    RETURNED = "WO_RETURNED"  #: to those who assign
    CANCELLED = "WO_CANCELLED"
    QC_FAILED = "WO_QC_FAILED"
    QC_PASSED = "WO_QC_PASSED"


class InventoryState(StrEnum):
    """Where a thing of the inventory stands (contract 002)."""

    READY = "ready"
    IN_SERVICE = "in_service"
    RENTED = "rented"
    BLOCKED = "blocked"
    WRITE_OFF = "write_off"


class FlagColor(StrEnum):
    """How large a repair is (contract 002)."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


class WorkSessionState(StrEnum):
    """Where a work session stands (contract 002)."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class WorkSessionAction(StrEnum):
    """What was done to a work session (contract 002)."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"


class XpKind(StrEnum):
    """What points were given for (contract 002)."""

    ATTENDANCE = "attendance_punctuality"
    BASE = "ticket_base_xp"
    FIRST_PASS = "ticket_qc_first_pass_bonus"  # noqa: S105 - a kind of points
    QC_STATUS = "ticket_qc_status_update"
    ADJUSTMENT = "manual_adjustment"


class RulesAction(StrEnum):
    """How a version of the rules came about (contract 002)."""

    BOOTSTRAP = "bootstrap"
    UPDATE = "update"
    ROLLBACK = "rollback"


class LevelStatus(StrEnum):
    """What an evaluation, or a person, did to a level (contract 002)."""

    LEVEL_UP = "level_up"
    MAINTAINED = "maintained"
    WARNING = "warning"
    RESET = "reset_to_l1"
    MANUAL_SET = "manual_set"
    WARNING_CLEARED = "warning_cleared"


class LevelSource(StrEnum):
    """Who changed a level."""

    WEEKLY = "weekly_evaluation"
    MANUAL = "manual_override"


class Lane(StrEnum):
    """Which line a job stands in; earlier lanes go first."""

    LIVE = "live"
    REPAIR = "repair"
    BACKFILL = "backfill"


class JobState(StrEnum):
    """Where a job stands; a finished job leaves the table."""

    READY = "ready"
    HELD = "held"  #: waits for its mailbox's budget
    RUNNING = "running"
    WAITING = "waiting"
    BLOCKED = "blocked"
    DEAD = "dead"


class Cause(StrEnum):
    """Why a job became a dead letter."""

    PERMANENT = "permanent"
    EXHAUSTED = "exhausted"
    CRASHED = "crashed"
    UNKNOWN_STAGE = "unknown_stage"


class Resolution(StrEnum):
    """How a dead letter ended."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"


class BulkAction(StrEnum):
    """What is done with many dead letters at once."""

    REPLAY = "replay"
    DISCARD = "discard"


class BulkState(StrEnum):
    """How far a wish about many dead letters has come."""

    CANARY = "canary"  #: the first few were let go; the rest wait for what becomes of them
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"  #: by itself, because what it let go failed again
    CANCELLED = "cancelled"  #: by a person


class ItemState(StrEnum):
    """What became of one letter of a wish."""

    WAITING = "waiting"
    RELEASED = "released"
    PASSED = "passed"
    FAILED = "failed"  #: again
    SKIPPED = "skipped"


class LetterAction(StrEnum):
    """What somebody did to a dead letter, or to a wish about many."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"
    RESTORED = "restored"  #: a discard was undone
    EDITED = "edited"
    BULK_STARTED = "bulk_started"
    BULK_STOPPED = "bulk_stopped"
    BULK_CANCELLED = "bulk_cancelled"
    BULK_DONE = "bulk_done"


class BackfillState(StrEnum):
    """Whether a listing is still going on."""

    RUNNING = "running"
    DONE = "done"


class WindowState(StrEnum):
    """Whether a window of a backfill is still being listed."""

    OPEN = "open"
    DONE = "done"


class ReconcileScope(StrEnum):
    """How far a comparison of a mailbox with its provider reaches, and what follows from it."""

    NIGHTLY = "nightly"  #: the last days; what is missing is fetched
    RESYNC = "resync"  #: what a forgotten cursor may have hidden; missing is fetched, vanished and labels are corrected
    FULL = "full"  #: everything; missing is fetched
    AUDIT = "audit"  #: everything, and nothing is changed: missing becomes a gap that a person fills


class GapCause(StrEnum):
    """How a gap came about or was found."""

    HISTORY_EXPIRED = "history_expired"
    RECONCILE = "reconcile"
    AUDIT = "audit"


class GapState(StrEnum):
    """Whether a gap is closed."""

    OPEN = "open"
    FILLING = "filling"
    FILLED = "filled"


class QuotaProfile(StrEnum):
    """Which of Google's tables holds for a Cloud project (mission-peers, 1.1)."""

    BEFORE_2026_05 = "before_2026_05"
    SINCE_2026_05 = "since_2026_05"


class SlotOutcome(StrEnum):
    """What became of one slot of a schedule."""

    RAN = "ran"
    CAUGHT_UP = "caught_up"  #: run later than its time
    SKIPPED = "skipped"  #: missed and left out, as its policy says


class WatchState(StrEnum):
    """How the provider's announcements of a mailbox stand."""

    ACTIVE = "active"
    SILENT = "silent"  #: polling finds mail that nobody announced
    FAILED = "failed"  #: could not be renewed


class Reach(StrEnum):
    """How far what a person may do reaches in their organization."""

    ORGANIZATION = "organization"
    ACCOUNT = "account"  #: the accounts of the membership
    SITE = "site"  #: its sites, which technicians call zones
    TEAM = "team"  #: what its team, and the queues of the person, have
    OWN = "own"  #: what is assigned to the person


class SessionKind(StrEnum):
    """How a session is carried."""

    COOKIE = "cookie"
    TOKEN = "token"  # noqa: S105 - a family of refresh tokens


class NoticeKind(StrEnum):
    """What a person is told."""

    PASSWORD_RESET = "password_reset"  # noqa: S105 - a kind of notice
    INVITATION = "invitation"


class ActorKind(StrEnum):
    """What acts (contract 000, `actor_type`)."""

    HUMAN = "HUMAN"
    AGENT = "AGENT"
    SERVICE = "SERVICE"
    SYSTEM = "SYSTEM"


class AuditOutcome(StrEnum):
    """Whether what was asked for was done."""

    DONE = "done"
    REFUSED = "refused"


class TransitionKind(StrEnum):
    """Which of a ticket's states changed."""

    STATUS = "status"
    DISPATCH = "dispatch"


class AssignmentStrategy(StrEnum):
    """How a rule finds the person of a queue who gets a ticket."""

    ROUND_ROBIN = "round_robin"  #: whose last turn is longest ago
    LEAST_LOADED = "least_loaded"  #: who has the fewest open tickets


class ClockKind(StrEnum):
    """What a clock times."""

    RESPONSE = "response"
    RESOLUTION = "resolution"


class ClockState(StrEnum):
    """Where a clock stands."""

    RUNNING = "running"
    PAUSED = "paused"
    MET = "met"
    MISSED = "missed"  #: what it timed happened after its time
    CANCELLED = "cancelled"


class IntervalState(StrEnum):
    """Whether a ticket's time counted."""

    RUNNING = "running"
    PAUSED = "paused"


class ErasureKind(StrEnum):
    """What is forgotten."""

    ADDRESS = "address"  #: the mail of one address
    AGE = "age"  #: what ended long ago


class ErasureState(StrEnum):
    """How far a forgetting has come."""

    RUNNING = "running"
    DONE = "done"


class DispatchPriority(StrEnum):
    """How soon field work must start (contract 000)."""

    EMERGENCY = "EMERGENCY"
    URGENT = "URGENT"
    ROUTINE = "ROUTINE"


class HoldReason(StrEnum):
    """Why a schedule waits for the customer (contract 000)."""

    CUSTOMER_PENDING = "CUSTOMER_PENDING"
    CUSTOMER_UNREACHABLE = "CUSTOMER_UNREACHABLE"
    CUSTOMER_CONFIRMATION_STALE = "CUSTOMER_CONFIRMATION_STALE"


class HoldState(StrEnum):
    """What became of a hold."""

    OPEN = "open"
    RELEASED = "released"  #: the customer confirmed
    ROLLED_BACK = "rolled_back"  #: somebody gave it up
    LAPSED = "lapsed"  #: nobody answered in time
    CANCELLED = "cancelled"  #: the ticket was


class VisitState(StrEnum):
    """Where one visit of a technician stands."""

    BOOKED = "booked"
    UNDER_WAY = "under_way"
    DONE = "done"
    CANCELLED = "cancelled"


class ApprovalKind(StrEnum):
    """What an approval is about (contract 000)."""

    NTE_INCREASE = "NTE_INCREASE"
    PROPOSAL = "PROPOSAL"


class ApprovalState(StrEnum):
    """Where an approval stands (contract 000)."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    DENIED = "DENIED"
    CANCELLED = "CANCELLED"


class AssignmentMode(StrEnum):
    """How a technician was sent (contract 000)."""

    STANDARD = "STANDARD"
    EMERGENCY_BYPASS = "EMERGENCY_BYPASS"


class QaResult(StrEnum):
    """What a check of finished work found (contract 000)."""

    PASS = "PASS"  # noqa: S105 - a result, not a secret
    FAIL = "FAIL"


class EvidenceCheck(StrEnum):
    """Whether what a piece of evidence refers to was looked at."""

    CHECKED = "checked"  #: it is in our store: size, type and hash are known
    UNCHECKED = "unchecked"  #: it is in a store that is not ours to read


class TimeKind(StrEnum):
    """What time was spent on."""

    LABOR = "labor"
    TRAVEL = "travel"


class PlanState(StrEnum):
    """What became of a day's plan."""

    DRAFT = "draft"
    APPLIED = "applied"
