"""What a model weighs of a mail, and what is made of its judgement: states, symptoms and the words that tell them."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from models.enums import ExtractedBy, SignalStatus
from pipeline.core.asset_names import Asset, AssetIndex
from pipeline.core.extractions import Extraction, Part, Span
from pipeline.core.signals import Known, read
from pipeline.core.symptom_words import Symptom
from pipeline.core.telling_terms import MOST_STATEMENTS
from pipeline.core.tellings import (
    LEAST_SURE_OF_FEW,
    LEAST_SURE_OF_RULES,
    LEAST_SURE_OF_TROUBLE,
    LEAST_SURE_STATE,
    LEAST_SURE_STATE_OF_RULES,
    Judgement,
    Telling,
)

EV_1, EV_2 = UUID(int=1), UUID(int=2)
KNOWN = Known(AssetIndex([Asset(EV_1, "EV-1", ""), Asset(EV_2, "EV-2", "")]))


def tellings(subject: str, text: str) -> dict[UUID, Telling]:
    """Return what a mail tells of each asset."""
    reading = read(subject, text, KNOWN)
    assert reading is not None
    return {one.extraction.asset_id: one for one in reading.tellings()}


def judged(
    telling: Telling, state: SignalStatus, chance: float = 0.9, symptoms: dict[Symptom, str] | None = None
) -> Extraction:
    """Return what is made of a judgement that finds each symptom wherever a word stands."""

    def judge(terms: Collection[str]) -> Judgement:
        found = {one: 0.9 if word in terms else 0.1 for one, word in (symptoms or {}).items()}
        likely = {state: chance}
        for other, share in ((SignalStatus.ONLINE, 0.6), (SignalStatus.UNKNOWN, 0.4), (SignalStatus.DOWN, 0.0)):
            likely[other] = likely.get(other, (1 - chance) * share)
        return Judgement(likely, found)

    return telling.judged(judge)


def test_a_model_weighs_words_their_neighbours_what_is_denied_and_what_stands_by_the_name():
    terms = tellings("", "Hello. EV-1 does not hum 12 times! Bye")[EV_1].terms()
    assert {
        "hello",
        "hum",
        "not hum",
        "near hum",
        "does_not",
        "near thisone_does",
        "does_*_hum",
        "0",
        "^_bye",
    } <= terms
    assert terms.isdisjoint({"12", "not bye", "near hello", "near bye", "ev"})


def test_of_several_assets_a_model_weighs_what_is_said_of_each():
    found = tellings("", "EV-1 purrs nicely. EV-2 sulks since Monday.")
    assert {"purrs", "r many"} <= found[EV_1].terms()
    assert found[EV_1].terms().isdisjoint({"sulks", "r one"})
    assert "sulks" in found[EV_2].terms()
    assert "purrs" not in found[EV_2].terms()


def test_what_the_rules_found_is_weighed_too():
    terms = tellings("", "EV-1 leaks.")[EV_1].terms()
    assert {"r degraded", "r symptom leak", "cue DEGRADED", "near cue DEGRADED", "cues ^ DEGRADED"} <= terms


def test_a_judgement_that_is_not_sure_tells_nothing():
    long = " Good morning, this is Bo from the shop in the north hall, next to the stairs and the lift."
    for said, least in (
        ("EV-1 sulks.", LEAST_SURE_STATE),
        (f"EV-1 is dead.{long}", LEAST_SURE_STATE_OF_RULES),
        ("EV-1 is dead.", LEAST_SURE_OF_FEW),
    ):
        telling = tellings("", said)[EV_1]
        assert judged(telling, SignalStatus.DOWN, least).status is SignalStatus.DOWN
        assert judged(telling, SignalStatus.DOWN, least - 0.001).status is SignalStatus.UNKNOWN


def test_a_learned_symptom_is_told_by_the_sentence_that_tells_it_most_and_one_of_the_rules_by_its_words():
    mail = "Good day. EV-1 leaks. It sings like a kettle. Bye"
    found = judged(
        tellings("tea", mail)[EV_1], SignalStatus.DEGRADED, symptoms={Symptom.NOISE: "kettle", Symptom.LEAK: "leaks"}
    )
    told = {one.symptom: (one.part, mail[one.span.start : one.span.end].strip()) for one in found.symptoms}
    assert told == {Symptom.NOISE: (Part.TEXT, "It sings like a kettle."), Symptom.LEAK: (Part.TEXT, "leaks")}


def test_an_asset_that_works_has_no_symptoms_and_a_symptom_alone_tells_a_state():
    telling = tellings("", "EV-1 leaks.")[EV_1]
    assert judged(telling, SignalStatus.ONLINE, symptoms={Symptom.LEAK: "leaks"}).symptoms == ()
    # Down or degraded, but which?
    found = judged(telling, SignalStatus.DOWN, LEAST_SURE_OF_TROUBLE, symptoms={Symptom.LEAK: "leaks"})
    assert (found.status, len(found.symptoms)) == (SignalStatus.DEGRADED, 1)
    found = judged(telling, SignalStatus.DOWN, LEAST_SURE_OF_TROUBLE - 0.01, symptoms={Symptom.LEAK: "leaks"})
    assert (found.status, found.symptoms) == (SignalStatus.UNKNOWN, ())


def test_a_list_of_hundreds_of_assets_is_weighed_item_by_item():
    assets = [Asset(UUID(int=at), f"PMP-{at:03}", "") for at in range(1, 400)]
    reading = read("", "\n".join(f"{one.tag}: sulks" for one in assets), Known(AssetIndex(assets)))
    assert reading is not None
    terms = [one.terms() for one in reading.tellings()]
    assert len(terms) == 399
    assert all("near sulks" in one and len(one) < 60 for one in terms)


def test_a_symptom_that_the_rules_find_too_is_told_sooner():
    def judge(terms: Collection[str]) -> Judgement:
        chances = {Symptom.LEAK: LEAST_SURE_OF_RULES, Symptom.NOISE: LEAST_SURE_OF_RULES}
        return Judgement({SignalStatus.DEGRADED: 1.0}, chances)

    assert [one.symptom for one in tellings("", "EV-1 leaks.")[EV_1].judged(judge).symptoms] == [Symptom.LEAK]


def test_the_sentence_that_tells_a_symptom_is_told_without_what_surrounds_it():
    rule = "=" * 70  # leaves no room for the next line's first word, so it is no end of a sentence
    for mail, said in (
        (f"{rule}\nEV-1 sings.\r\n\r\n  EV-2 sulks.", f"{rule}\nEV-1 sings."),
        ("EV-2 sulks.\r\n\r\n  EV-1 sings.  \r\nBye", "EV-1 sings."),
    ):
        found = judged(tellings("x", mail)[EV_1], SignalStatus.DEGRADED, symptoms={Symptom.NOISE: "sings"})
        (told,) = found.symptoms
        assert (told.part, told.span.start >= 0, mail[told.span.start : told.span.end]) == (Part.TEXT, True, said)


def test_what_hardly_happens_is_denied_and_the_other_one_has_a_word_of_its_own():
    terms = tellings("", "EV-1 barely hums. The other one is fine.")[EV_1].terms()
    assert {"not hums", "theother", "theother_is"} <= terms
    assert "anotherone" not in terms


def test_of_a_long_mail_the_beginning_is_weighed():
    words = [f"w{chr(97 + at // 26)}{chr(97 + at % 26)}" for at in range(MOST_STATEMENTS + 5)]
    terms = tellings("", "EV-1 sulks. " + ". ".join(words))[EV_1].terms()
    assert words[MOST_STATEMENTS - 2] in terms
    assert words[MOST_STATEMENTS - 1] not in terms


def test_of_a_mail_that_names_nothing_all_words_are_weighed_but_a_misspelt_name():
    known = Known(AssetIndex([Asset(EV_1, "EV-1", "north gate charger", site_id=UUID(int=9))]))
    reading = read("", "Hello.\r\n The north gat chargr is dead.\nBye", known)
    assert reading is not None
    (by_site,) = reading.meaning(EV_1, ExtractedBy.SITE).tellings()
    assert {"gat", "is_dead"} <= by_site.terms()
    assert "thisone" not in by_site.terms()
    assert by_site.extraction.span == Span(9, 9 + len("The north gat chargr is dead."))
    (by_name,) = reading.meaning(EV_1, ExtractedBy.FUZZY, "north gat chargr").tellings()
    assert {"the_thisone", "thisone_is", "near dead"} <= by_name.terms()
    assert "gat" not in by_name.terms()
