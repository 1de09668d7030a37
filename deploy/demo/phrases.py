"""English phrases, and the book that finds the phrases of a language."""

from __future__ import annotations

from deploy.demo.phrases_abroad import FRENCH, GERMAN, JAPANESE, POLISH
from deploy.demo.specs import AssetKind
from deploy.demo.wording import Report, Wording

_CHARGER, _DOOR, _GATE, _LIFT = AssetKind.CHARGER, AssetKind.DOOR, AssetKind.GATE, AssetKind.LIFT
_DOWN, _DEGRADED, _WORKING, _UNCLEAR = Report.DOWN, Report.DEGRADED, Report.WORKING, Report.UNCLEAR

_TROUBLE = {
    _DOWN: (
        "{tag} is down again.",
        "{noun} {tag} at {site} is completely dead, nothing happens at all.",
        "Please note that {tag} is out of order since about 7 this morning.",
        "{tag} has stopped working. We have put a sign on it.",
        "Nobody here can use {tag} any more, it does not react to anything.",
    ),
    _DEGRADED: (
        "{tag} works, but only every second or third try.",
        "{tag} is very slow today and shows an error now and then.",
        "{noun} {tag} is acting up: fine for an hour, then it needs a restart.",
        "{tag} at {site} is intermittent, it keeps cutting out.",
    ),
    _WORKING: (
        "Good news, {tag} is working again.",
        "{tag} is back online, you can cancel the visit from our side.",
        "Just used {tag} without any problem.",
        "False alarm about {tag}, it is fine.",
    ),
    _UNCLEAR: (
        "Something seems odd with {tag}, could you have a look?",
        "I am not sure whether {tag} is broken or whether I am using it wrong.",
        "One of our tenants mentioned {tag}, but I could not see it myself.",
        "Do you know the current state of {tag}?",
    ),
}
_TROUBLE_OF = {
    (_CHARGER, _DOWN): (
        "{tag} will not start a session. The screen is black and the breaker looks fine.",
        "Three drivers told us that {tag} refuses to charge, the cable locks but no power comes.",
        "The card reader on {tag} rejects every card, so nobody can start charging.",
        "The plug of {tag} is bent and the unit shows a red light. It is unusable.",
        "{tag} has been offline in the app since last night and does not start with a card either.",
    ),
    (_CHARGER, _DEGRADED): (
        "{tag} only gives 11 kW instead of 50 kW.",
        "{tag} drops the session after ten minutes, then you have to tap your card again.",
        "The terminal on {tag} needs four or five taps before it takes a payment.",
        "Left connector of {tag} charges, the right one does not.",
    ),
    (_CHARGER, _WORKING): (
        "Charged 34 kWh on {tag} just now, all good.",
        "The app shows {tag} as available and my car is charging there right now.",
    ),
    (_DOOR, _DOWN): (
        "Sliding door {tag} is stuck shut, visitors have to walk around the building.",
        "{tag} does not open at all, the sensor light is off.",
        "{tag} stays wide open and cannot be locked. We need somebody before closing time.",
    ),
    (_DOOR, _DEGRADED): (
        "{tag} closes far too fast and scratches along the frame.",
        "{tag} opens only halfway, and with a loud squeak.",
    ),
    (_GATE, _DOWN): (
        "The barrier {tag} is jammed, cars are queueing back to the street.",
        "{tag} does not read any badges and stays down. We lift it by hand.",
    ),
    (_GATE, _DEGRADED): ("{tag} takes nearly a minute to open, and sometimes it stops in the middle.",),
    (_LIFT, _DOWN): (
        "Lift {tag} stopped between two floors. Nobody is inside, we have blocked it off.",
        "{tag} is out of service, doors open and error E-17 on the panel.",
        "Two people were trapped in {tag} for twenty minutes. They are out, but the lift is dead now.",
    ),
    (_LIFT, _DEGRADED): ("{tag} stops a hand's breadth above the floor and makes a grinding noise.",),
}
ENGLISH = Wording(
    greetings=("Hi,", "Hello team,", "Good morning,", "Dear Northline team,", "Hi there,", "Hello again,"),
    closings=("Thanks", "Kind regards", "Best", "Many thanks", "Cheers", "Regards"),
    wrote="On {day}, {name} wrote:",
    nouns={_CHARGER: "Charger", _DOOR: "Door", _GATE: "Gate", _LIFT: "Lift"},
    trouble=_TROUBLE,
    trouble_of=_TROUBLE_OF,
    subjects={
        _DOWN: (
            "{tag} down",
            "{tag} not working",
            "URGENT {tag} out of order",
            "{noun} at {site} dead",
            "Outage {tag} ⚡",
            "Trouble at {site}",
            "{site}: {tag} broken again",
            "help",
            "Urgent: nobody gets through at {site}",
        ),
        _DEGRADED: ("{tag} slow", "Problems with {tag}", "{tag} works only sometimes", "{noun} {tag} acting up 🔧"),
        _WORKING: ("{tag} working again", "{tag} is back ✅", "Re-check of {tag}"),
        _UNCLEAR: ("Question about {tag}", "Is {tag} ok?", "{site}", "Something odd at {site}"),
    },
    details=(
        "Access is from the back of the building, the key is at reception (code word blue heron).",
        "We already tried switching it off and on, and checked the breaker in the basement. No change.",
        "The photo shows how it looks right now. Let me know if you need a better one.",
        "This is the third time this month, so please check the cause and not just the symptom.",
        "Our night shift ends at six. After that, ask for the security desk at the main entrance.",
        "It affects about forty people a day here, many of them with appointments they cannot move.",
        "There was a short power cut in the area around two o'clock, perhaps that has to do with it.",
        "The serial number on the plate is hard to read, it starts with NL-7 and ends in 42 or 47.",
        "We have an event at the weekend with two hundred guests and would need it until Friday evening.",
        "If you send someone, please note that the clearance of the entrance is 2.1 metres only.",
    ),
    questions=(
        ("Invoice {number}", "invoice {number} lists two call-outs, but your technician came once. Please check."),
        ("Copy of invoice {number}", "could you send us invoice {number} again as a PDF? Our system lost it."),
        ("Payment of invoice {number}", "we paid invoice {number} last week, yet a reminder arrived today."),
        ("Appointment at {site}", "can we move the visit at {site} to {day}? The contact is on leave before."),
        ("Maintenance plan {site}", "when is the next inspection at {site} due? The insurer wants a date."),
        ("Quote for two more chargers", "we would like two more wall boxes at {site}. Could somebody call me?"),
        ("New contact person", "from {day} on please send everything about {site} to our front desk."),
    ),
    thanks=(
        ("Thank you!", "your technician was quick and very friendly. Everything runs."),
        ("Great work at {site}", "just wanted to say thanks, all is fine since the visit."),
        ("👍", "perfect, thanks a lot 🙏"),
    ),
    follow_ups=(
        "Thanks for the quick answer. Somebody will be on site this afternoon.",
        "Still the same here, sorry. When can we expect your colleague?",
        "I asked our security desk, they see it too.",
        "OK, understood. Please call me before you come.",
        "Here is the log you asked for.",
        "Any news on this?",
        "That time suits us, see you then.",
        "It came back for ten minutes, then it failed again.",
        "Looks good now as far as I can tell. You may close this.",
    ),
)

ANSWERS = (
    "Thank you for letting us know. We have opened a case and will send a technician. Could you confirm the access?",
    "We can see the fault from here and will try a remote restart first. Please check again in fifteen minutes.",
    "A technician is planned for {day} between 8 and 12. Please make sure that somebody can open the gate.",
    "Could you send us a photo of the display and of the type plate? That saves us one visit.",
    "The part has arrived, we will fit it on {day}.",
    "Our team was on site and has replaced the contactor. Please tell us if it happens again.",
    "We have forwarded your question to accounting, they will come back to you within two days.",
    "Thanks for the update. We keep an eye on it until tomorrow and then close the case.",
)

DESK_GREETINGS = ("Hello,", "Good day,", "Hello, and thank you for writing.")

BOOKS = {"en": ENGLISH, "de": GERMAN, "fr": FRENCH, "pl": POLISH, "ja": JAPANESE}
