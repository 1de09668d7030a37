"""The batch endpoint: many calls in one multipart request, each answered by itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message as MimePart

from tests.gmail_server.api import PREFIX, Api
from tests.gmail_server.errors import ApiError, invalid
from tests.gmail_server.http11 import Answer, Request

MAX_CALLS = 100


class Batch:
    """Answers `POST /batch/gmail/v1`. Parts count as concurrent calls of their user and cost what they cost alone."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def answer(self, request: Request) -> Answer:
        """200 multipart/mixed with a part per call; ApiError 400 when it is not a batch or above 100 calls."""
        parts = _parts_of(request)
        answers = [(part, self._part_answer(request, part)) for part in parts]
        boundary = f"batch_{uuid.uuid4().hex}"
        body = b"".join(_rendered(boundary, part, answer) for part, answer in answers)
        releases = [answer.release for _, answer in answers if answer.release is not None]
        return Answer(
            200,
            body + f"--{boundary}--\r\n".encode(),
            content_type=f"multipart/mixed; boundary={boundary}",
            delay=max(answer.delay for _, answer in answers),
            release=lambda: _run_all(releases),
        )

    def _part_answer(self, outer: Request, part: MimePart) -> Answer:
        try:
            inner = _inner_request(outer, part)
        except ApiError as error:
            return Answer(error.code, error.body())
        return self._api.answer(inner, in_batch=True)


def _run_all(actions: list[Callable[[], None]]) -> None:
    for action in actions:
        action()


def _parts_of(request: Request) -> list[MimePart]:
    content_type = request.headers.get("content-type", "")
    whole = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode("latin-1") + request.body)
    parts = whole.get_payload()
    if whole.get_content_maintype() != "multipart" or not isinstance(parts, list):
        raise invalid("Failed to parse batch request, error: a multipart/mixed body is needed")
    if len(parts) > MAX_CALLS:
        raise invalid(f"The batch request exceeded the limit of {MAX_CALLS} calls")
    return [part for part in parts if isinstance(part, MimePart)]


def _inner_request(outer: Request, part: MimePart) -> Request:
    content = part.get_payload(decode=True)
    if part.get_content_type() != "application/http" or not isinstance(content, bytes):
        raise invalid("A batch part has to be application/http")
    head, _, body = content.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    words = first.split(" ")
    path, _, query = words[1].partition("?") if len(words) > 1 else ("", "", "")
    if not path.startswith(PREFIX):
        raise invalid("Failed to parse the request line of a batch part")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    headers.setdefault("authorization", outer.headers.get("authorization", ""))
    return Request(words[0], path, query, headers, body.removesuffix(b"\n"))


def _rendered(boundary: str, part: MimePart, answer: Answer) -> bytes:
    content_id = str(part.get("Content-ID", "")).strip()
    named = f"Content-ID: <response-{content_id.strip('<>')}>\r\n" if content_id else ""
    head = f"--{boundary}\r\nContent-Type: application/http\r\n{named}\r\n".encode()
    return head + answer.head(keep_alive=True) + answer.body + b"\r\n"
