"""How large a body an address takes, and how long it may come: small and soon, unless its row of access says more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from starlette.routing import compile_path

from ops_api.access import Access
from ops_api.limits import Limits
from pipeline.core.uploads import LIMITS, Code

#: What a form may say around its file; the limit of a route's body that is one is that of the file and this.
FORM_BYTES = 65_536
BODY_LIMIT = LIMITS.file_bytes + FORM_BYTES


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """What a body may be; `code` is the refusal's word for programs where it is not the common one."""

    most: int
    #: From the request's beginning to its answer.
    deadline: timedelta
    #: A body that takes longer is waited for as long as it comes this fast; None: never longer.
    bytes_per_second: int | None = None
    code: str | None = None
    #: What it holds may come in several requests as well.
    is_parted: bool = False

    @property
    def said(self) -> str:
        """The refusal of a larger one."""
        said = f"the body is larger than {self.most} bytes"
        return f"{said}; send it in parts" if self.is_parted else said

    def deadline_after(self, received: int) -> timedelta:
        """Return how long a request may take of whose body so many bytes have come and more will."""
        earned = received / self.bytes_per_second if self.bytes_per_second else 0.0
        return self.deadline + timedelta(seconds=earned)


class BodyLimits:
    """The limit of every address, by the rows of access."""

    def __init__(self, rows: Iterable[Access], limits: Limits) -> None:
        self._common = BodyLimit(limits.body_bytes, limits.deadline)
        self._own = [
            (row.method, compile_path(row.path)[0], self._of_row(row, limits))
            for row in rows
            if row.body_limit is not None or row.json_limit is not None or row.patience is not None
        ]

    def of(self, method: str, path: str) -> BodyLimit:
        """Return the limit of a request's body."""
        return next((own for verb, shape, own in self._own if verb == method and shape.match(path)), self._common)

    def _of_row(self, row: Access, limits: Limits) -> BodyLimit:
        deadline = row.patience or limits.deadline
        if row.json_limit is not None:
            return BodyLimit(row.json_limit, deadline, limits.upload_bytes_per_second, is_parted=True)
        if row.body_limit is None:
            return BodyLimit(limits.body_bytes, deadline)
        return BodyLimit(row.body_limit, deadline, limits.upload_bytes_per_second, Code.TOO_LARGE)
