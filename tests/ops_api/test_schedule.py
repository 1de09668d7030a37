"""How the schedules stand, over HTTP."""

from __future__ import annotations

from tests.ops_api.serving import Api, House, change


def test_the_schedules_tell_their_last_and_next_slot(api: Api, ours: House) -> None:
    change(
        api.db,
        """
        INSERT INTO slots (schedule, slot_at, outcome, taken_by, jobs)
        SELECT 'history', date_bin('5 min', now() - ago, '2000-01-01Z'), outcome, 'host:1', 2
          FROM (VALUES (interval '1 h', 'skipped'), (interval '50 min', 'skipped'), (interval '40 min', 'ran'))
            AS t(ago, outcome)
        """,
    )
    answer = api.person(ours.org_id).get("/ops/schedule")
    assert answer.status_code == 200
    items = {item["name"]: item for item in answer.json()["items"]}
    assert set(items) == {"history", "reconcile", "clocks", "levels", "quiet", "retention", "seal", "tidy"}
    assert (items["history"]["cron"], items["history"]["catch_up"]) == ("*/5 * * * *", "once")
    assert (items["history"]["last_outcome"], items["history"]["last_jobs"]) == ("ran", 2)
    assert (items["history"]["missed_last_7_days"], items["history"]["is_overdue"]) == (1, True)
    assert (items["tidy"]["last_slot_at"], items["tidy"]["is_overdue"]) == (None, False)
    assert "host:1" not in answer.text
