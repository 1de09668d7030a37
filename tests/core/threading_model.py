"""Which messages belong together, said in words and compared pair by pair: the model that stitching is held to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pipeline.core.participants import PUBLIC_DOMAINS
from pipeline.core.thread_keys import Facts


def partition(messages: Sequence[Facts], own: Collection[str]) -> set[frozenset[int]]:
    """Grow each conversation from one message by whatever belongs to one that is in it already."""
    by_name: dict[object, list[Facts]] = {}
    for one in messages:
        for name in _names(one):
            by_name.setdefault(name, []).append(one)
    left, found = {one.message_id: one for one in messages}, set()
    while left:
        _, first = left.popitem()
        inside, frontier = {first.message_id}, [first]
        while frontier:
            one = frontier.pop()
            candidates = {other.message_id: other for name in _names(one) for other in by_name[name]}
            near = [other for other in candidates.values() if other.message_id in left and belong(one, other, own)]
            for other in near:
                del left[other.message_id]
                inside.add(other.message_id)
            frontier += near
        found.add(frozenset(inside))
    return found


def _names(message: Facts) -> set[object]:
    """Return everything by which two messages can have to do with each other at all."""
    return {
        *(one for one in [message.rfc_message_id] if one),
        *message.in_reply_to,
        *message.references,
        *message.reported,
        *message.threads,
    }


def belong(one: Facts, other: Facts, own: Collection[str]) -> bool:
    """Say whether two messages belong together by themselves."""
    return (
        _answers(one, other, own)
        or _answers(other, one, own)
        or _answer_the_same(one, other, own)
        or _are_the_same(one, other, own)
        or _are_in_a_thread(one, other, own)
        or _report(one, other, own)
        or _report(other, one, own)
    )


def _answers(child: Facts, parent: Facts, own: Collection[str]) -> bool:
    """The child names the parent, is addressed to its author, and comes from one of its people."""
    if parent.rfc_message_id is None or parent.rfc_message_id not in (*child.in_reply_to, *child.references):
        return False
    author = _author(parent, own)
    people = _tokens([parent.sender, *parent.recipients, *parent.reply_to], own) | {"us"}
    return bool(author & _addressed(child, own) and people & _speakers(child, own)) or _share_a_circle(
        child, parent, own
    )


def _answer_the_same(one: Facts, other: Facts, own: Collection[str]) -> bool:
    """Both name an id, for the same people, as a message of the same author."""
    if not {*one.in_reply_to, *one.references} & {*other.in_reply_to, *other.references}:
        return False
    together = _speakers(one, own) & _speakers(other, own) and _addressed(one, own) & _addressed(other, own)
    return bool(together) or _share_a_circle(one, other, own)


def _are_the_same(one: Facts, other: Facts, own: Collection[str]) -> bool:
    """Both carry one id, of one author, and may be answered by the same people."""
    if one.rfc_message_id is None or one.rfc_message_id != other.rfc_message_id:
        return False
    return bool(_author(one, own) & _author(other, own)) or _share_a_circle(one, other, own)


def _report(report: Facts, other: Facts, own: Collection[str]) -> bool:
    """One reports on the other, which one of us wrote; or both report on the same."""
    is_ours = other.is_outbound or _tokens([other.sender], own) == {"us"}
    on_ours = is_ours and other.rfc_message_id in report.reported
    return on_ours or bool(set(report.reported) & set(other.reported))


def _are_in_a_thread(one: Facts, other: Facts, own: Collection[str]) -> bool:
    if not set(one.threads) & set(other.threads):
        return False
    return bool(_counterparts(one, own) & _counterparts(other, own))


def _counterparts(message: Facts, own: Collection[str]) -> set[str]:
    sender = _tokens([message.sender], own)
    outside = sender - {"us"}
    if message.is_outbound or not outside:
        outside = _tokens(message.recipients, own) - {"us"}
    return outside or sender


def _author(message: Facts, own: Collection[str]) -> set[str]:
    sender = _tokens([message.sender], own)
    return sender | (_tokens(message.reply_to, own) if sender == {"us"} else set())


def _speakers(message: Facts, own: Collection[str]) -> set[str]:
    return _tokens([message.sender], own) | ({"us"} if message.is_outbound else set())


def _addressed(message: Facts, own: Collection[str]) -> set[str]:
    return _tokens([message.sender, *message.recipients], own) | {"us"}


def _share_a_circle(one: Facts, other: Facts, own: Collection[str]) -> bool:
    return bool(_circles(one, own) & _circles(other, own))


def _circles(message: Facts, own: Collection[str]) -> set[str]:
    ours = [domain.removeprefix("@") for domain in own]
    if message.is_list and not any(f".{message.list_id}".endswith(f".{domain}") for domain in ours):
        listed = {f"list {message.list_id}"} if message.list_id else set()
        return listed | (_tokens(message.recipients, own) - {"us"})
    if message.is_list:
        return set()
    return {"nobody"} if message.is_unaddressed and not message.recipients and not message.is_outbound else set()


def _tokens(addresses: Iterable[str | None], own: Collection[str]) -> set[str]:
    found = set()
    for address in addresses:
        if address:
            domain = address.split("@")[-1]
            token = address if "@" not in address or domain in PUBLIC_DOMAINS else f"@{domain}"
            found.add("us" if token in own else token)
    return found
