"""The model that comes along is what the labelled mails teach."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
import yaml

from ops_api.cli.labelled_mails import samples
from pipeline.adapters.learned_status import built_in, train
from pipeline.core.asset_names import Asset, AssetIndex
from pipeline.core.signals import Known, read
from tests.core.test_labelled import CHOOSING, LEARNED, read_mail

#: What everybody says, one a line or with a greeting. People who are asked for mails to learn from leave it out.
PLAIN = {
    "down": (
        "@ is down.", "@ is offline.", "@ is not working.", "@ is broken.", "@ has stopped.", "@ won't start.",
        "@ is dead.", "@ is out of order.", "@ has failed.", "@ tripped.", "@ is stuck.", "@ is frozen.",
        "@ is still down.", "@ went down at 9 am.", "@ does not respond.", "@ stopped charging.",
        "@ has been down since Monday.", "@ failed to start.", "Hello, @ is down. Please send someone. Thanks, Tom",
        "Good morning, there is a problem with @: it is down.", "Could you please send somebody to @, it is broken.",
        "@ ist kaputt.", "@ ist defekt.", "@ ist ausgefallen.", "@ funktioniert nicht.", "@ startet nicht.",
    ),
    "down no_power": ("@ has no power.", "@ lost power.", "There is no power at @.", "@ hat keinen Strom."),
    "down wont_open": ("The door @ does not open.",),
    "degraded": ("@ is faulty.", "@ acts up.", "There is a problem with @."),
    "degraded intermittent": ("@ works sometimes.",),
    "degraded leak": ("@ is leaking.", "@ leaks oil.", "@ works but leaks.", "Leak at @.", "@ ist undicht."),
    "degraded noise": ("@ makes a loud noise.", "@ makes strange noises.", "@ macht laute Geräusche."),
    "degraded slow": ("@ is very slow.", "@ works but is slow."),
    "degraded overheating": ("@ is overheating.", "@ smells of burning."),
    "online": (
        "@ is working again.", "@ is back online.", "@ is fine.", "@ is ok.", "@ works.", "@ is running.",
        "@ has been repaired.", "@ was down yesterday but is fine now.", "No problems with @.", "@ is not down.",
        "The problem with @ is solved.", "@ läuft wieder.", "@ funktioniert wieder.", "@ ist in Ordnung.",
    ),
    "unknown": (
        "Please fix @.", "Can you check @?", "Is @ down?", "When is the next service of @?", "Invoice for @ attached.",
        "Please send the manual of @.", "@ will be serviced on Monday.", "Wann wird @ gewartet?",
    ),
}  # fmt: skip


def test_what_everybody_says_is_not_doubted():
    known = Known(AssetIndex([Asset(UUID(int=1), "AUS_0123", "")]))
    wrong = []
    for label, mails in PLAIN.items():
        for mail in mails:
            reading = read("", mail.replace("@", "AUS_0123"), known)
            assert reading is not None
            (telling,) = reading.tellings()
            found = telling.judged(built_in().judge)
            told = " ".join([found.status.value, *(one.symptom.value for one in found.symptoms)])
            wrong += [(mail, told)] if told != label else []
    assert wrong == []


@pytest.mark.soak
def test_the_built_in_model_reads_mails_as_one_that_is_trained_anew():
    """Two processors may round a weight differently: what is read is compared, not the files (a minute)."""
    anew = train([sample for path in LEARNED for sample in samples(path)])
    assert anew.made_by["labels"] == built_in().made_by["labels"]
    assert abs(len(anew.weights) - len(built_in().weights)) < 50
    asked = [mail for path in CHOOSING for mail in yaml.safe_load(Path(path).read_text(encoding="utf-8"))]
    assert [read_mail(mail, anew.judge) for mail in asked] == [read_mail(mail, built_in().judge) for mail in asked]
