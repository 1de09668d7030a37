from __future__ import annotations
import pytest, time
from sqlalchemy import text
@pytest.mark.parametrize("n", range(8))
def test_x(db, n):
    with db.begin() as c:
        print(c.execute(text("select conname from pg_constraint where conrelid='jobs'::regclass")).scalars().all())
