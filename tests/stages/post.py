"""A post office in memory: what was sent stands in it, and it answers as it is told to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from pipeline.core.handing_over import Finding, Handed, HandOver, Outgoing
from pipeline.core.pushing import Device, How, Push, Pushed
from pipeline.ports import MailboxRef, Notice, Sender


@dataclass
class MemorySender:
    """One mailbox's sender. Each answer of `answers` is given once, then everything is accepted.

    With `keeps` what was taken is found again; without, nobody can tell. A doubtful answer in `taken` means that the
    mail was taken all the same.
    """

    answers: list[Handed | Exception] = field(default_factory=list)
    keeps: bool = True
    doubtful_is_taken: bool = False
    broken: Exception | None = None
    others: Mapping[str, bool] | None = None
    #: Everything that left, in order.
    sent: list[Outgoing] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def send(self, mail: Outgoing) -> Handed:
        self.calls.append("send")
        answer = self.answers.pop(0) if self.answers else Handed(HandOver.ACCEPTED, "", f"sent-{len(self.sent) + 1}")
        if isinstance(answer, Exception):
            raise answer
        is_doubtful = answer.how is HandOver.DOUBTFUL
        if answer.how is HandOver.ACCEPTED or (is_doubtful and self.doubtful_is_taken):
            self.sent.append(mail)
        return answer

    def find(self, mail: Outgoing) -> tuple[Finding, str | None]:
        self.calls.append("find")
        if self.broken is not None:
            raise self.broken
        ids = [one.message_id for one in self.sent]
        if self.keeps and mail.message_id in ids:
            return Finding.THERE, f"sent-{ids.index(mail.message_id) + 1}"
        return (Finding.NOT_THERE if self.keeps else Finding.UNSURE), None

    def allowed(self) -> Mapping[str, bool] | None:
        if self.broken is not None:
            raise self.broken
        return self.others

    def close(self) -> None:
        self.calls.append("close")


@dataclass
class MemorySenders:
    """Opens the senders it was given, or raises `refused`."""

    by_mailbox: dict[UUID, MemorySender] = field(default_factory=dict)
    refused: dict[UUID, Exception] = field(default_factory=dict)

    def open(self, mailbox: MailboxRef) -> Sender:
        if mailbox.mailbox_id in self.refused:
            raise self.refused[mailbox.mailbox_id]
        return self.by_mailbox.setdefault(mailbox.mailbox_id, MemorySender())

    def close(self) -> None:
        self.by_mailbox.clear()


@dataclass
class MemoryNotifier:
    """A relay for what is told to people; there is none until `is_ready`. Each of `answers` is given once."""

    is_ready: bool = False
    answers: list[Handed | Exception] = field(default_factory=list)
    told: list[Notice] = field(default_factory=list)

    def send(self, notice: Notice) -> Handed:
        answer = self.answers.pop(0) if self.answers else Handed(HandOver.ACCEPTED)
        if isinstance(answer, Exception):
            raise answer
        if answer.how is HandOver.ACCEPTED:
            self.told.append(notice)
        return answer


@dataclass
class MemoryPusher:
    """A push service; there is none until `is_ready`. Answers by device; one without any accepts."""

    is_ready: bool = False
    answers: dict[UUID, Pushed] = field(default_factory=dict)
    #: What was pushed to which device, in order, whatever was answered.
    pushed: list[tuple[Push, UUID]] = field(default_factory=list)

    def push(self, push: Push, device: Device) -> Pushed:
        self.pushed.append((push, device.device_id))
        return self.answers.get(device.device_id, Pushed(How.ACCEPTED))

    def close(self) -> None:
        self.is_ready = False
