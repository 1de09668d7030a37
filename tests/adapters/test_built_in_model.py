"""The model that comes along is what the labelled mails teach."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ops_api.cli.labelled_mails import samples
from pipeline.adapters.learned_status import built_in, train
from tests.core.test_labelled import CHOOSING, LEARNED, read_mail


@pytest.mark.soak
def test_the_built_in_model_reads_mails_as_one_that_is_trained_anew():
    """Two processors may round a weight differently: what is read is compared, not the files (a minute)."""
    anew = train([sample for path in LEARNED for sample in samples(path)])
    assert anew.made_by["labels"] == built_in().made_by["labels"]
    assert abs(len(anew.weights) - len(built_in().weights)) < 50
    asked = [mail for path in CHOOSING for mail in yaml.safe_load(Path(path).read_text(encoding="utf-8"))]
    assert [read_mail(mail, anew.judge) for mail in asked] == [read_mail(mail, built_in().judge) for mail in asked]
