"""The words that tell a state, deny it, doubt it, or put it into the past; English, some German, common "
"misspellings."""

from __future__ import annotations

from enum import Enum, auto
from itertools import product


class Cue(Enum):
    """What a phrase tells where nothing around it changes that."""

    DOWN = auto()
    DEGRADED = auto()
    ONLINE = auto()
    RECOVERED = auto()  #: online, whatever was said before
    PROPERLY = auto()  #: online; when negated, degraded
    ACTION = auto()  #: what the thing should do: negated it is down, "again" it has recovered
    MENDED = auto()  #: recovered after "is", "was", "has been", but not in "needs to be fixed"
    ENDED = auto()  #: recovered after words of trouble: "the noise is gone"
    HEDGE = auto()  #: makes what its sentence tells a matter of sometimes
    NOTHING = auto()  #: a way of speaking
    DOUBT = auto()  #: what its clause goes on to tell is not told
    FELL = auto()  #: down by what happened once: over where the thing works afterwards
    WAS_DOWN = auto()
    WAS_DEGRADED = auto()


def phrases(text: str) -> frozenset[str]:
    """Return the phrases of a comma-separated list; "a/b c/d" stands for its four combinations."""
    alternatives = ((part.split("/") for part in phrase.split()) for phrase in text.split(","))
    return frozenset(" ".join(words) for choice in alternatives for words in product(*choice))


PHRASES = {
    Cue.DOWN: phrases(
        "down, offline, off line, dead, ded, broken, brokn, brocken, broke, busted, bust, unresponsive, unreachable, "
        "inoperable, inoperative, bricked, crashed, stuck, jammed, failed, fails, failing, failure, tripped, "
        "smashed, "
        "vandalised/vandalized, sparks/sparking, burnt/burned out, out of order/service/action/commission, "
        "no power/response/signal/display/light/lights/juice/electricity, no sign/signs of life, lost power, kaput, "
        "blank/black/dark screen/display, screen/display/touchscreen is/stays/went/remains black/blank/dark, "
        "shut/break/breaks/broken down, stuck/jammed/wedged open/shut/closed, useless, shutdown, gave up the "
        "ghost, has died, just died, it died, conked out, "
        "packed up, not a thing, doing nothing, does nothing, stone dead, cant/cannot pay, unusable, "
        "worked/working/fine/ok until, worked till, toast, switched itself off, "
        "frozen, froze, locked up, blown, no longer in service, nothing happens, fail/fails/failed/failing to, "
        "stopped again/completely/since/suddenly, standing/stands/stood still, "
        "stationary, halted, "
        "at a standstill, unavailable, not available, not reachable, no connection, lost connection, disconnected, "
        "cannot/cant be used/reached/opened/closed/started, can/could not be "
        "used/reached/opened/closed/started, not usable, "
        "not ok/okay/fine/good, died, passed away, "
        "given up, packed in, knocked out, switched/shut/turned off, taken out of service, torn off, broken "
        "off, kaputtgegangen, "
        "not possible, impossible, "
        "defekt, kaputt, ausgefallen, ausser betrieb, außer betrieb, keinen/kein strom, "
        "sich nicht öffnen/schließen/starten/einschalten, tot"
    ),
    Cue.DEGRADED: phrases(
        "degraded, slow/slowly/slower, sluggish, lagging/laggy/lags, flicker/flickers/flickering/flickered, "
        "noisy, loud, grinding, squeaks/squeaking/squeaky, "
        "squeals/squealing, screeching/screeches, rattles/rattling, leak/leaks/leaking, drips/dripping, loose, "
        "drops/dropping/cuts/cutting out, overheats/overheating/overheated, unstable, unreliable, "
        "glitch/glitches/glitchy/glitching, faulty/fault/faults, error/errors, "
        "freezes/freezing, hangs, slams/slamming, sticks/sticking, worn, cracked, bent, damaged, weak, half speed, "
        "reduced speed/power, at half power, partially, keeps restarting/rebooting/crashing/disconnecting/resetting, "
        "hardly/barely works/working/charges/opens, slow/slows/slowed/slowing down, not always/reliably, not "
        "every time, "
        "acting up, playing up, acts up, plays up, temperamental, hit and/or miss, on the blink, running hot, "
        "too hot, "
        "very hot, half the time, declined, declines, takes ages/forever, smells/smell/smelling of/like burning, "
        "making/makes a/an noise/noises, malfunction/malfunctions/malfunctioning, defect/defective, "
        "problem/problems, "
        "trouble/troubles, issue/issues, rattle, squeak, squeal, drip, overheat, grind/grinds, freeze, hang, "
        "slam, stick, lag, wobble, "
        "buzz/buzzes/buzzing, creak/creaks/creaking, scrape/scrapes/scraping, vibrates/vibrating, "
        "stops every/after/by/half/randomly/again/sometimes/when/whenever, keeps stopping/tripping, trips, "
        "noise/noises, stinks of/like, smell/smells/stench of, burning smell, "
        "interrupts, interrupted, interruptions, aborts, aborted, stops charging/working/running after, only "
        "sometimes/occasionally, "
        "half dead, acting/behaving strange/strangely/weird/weirdly/odd/oddly, frayed, torn, misbehaving, "
        "wobbly, wobbles, "
        "langsam, undicht, tropft, quietscht, wackelt, beschädigt, störung, flackert"
    ),
    Cue.ONLINE: phrases(
        "online, working, wokring, workng, workin, works, operational, functional, functioning, functions, running, "
        "all good/fine/ok/okay/well/clear, "
        "is/are/was/looks/look/seems/seem/works/still/charges/charging/runs/run/running fine/ok/okay/good, "
        "is/are/was/looks perfectly/totally/completely/absolutely fine/ok/okay, no "
        "issues/problems/trouble/complaints, "
        "no issue/problem/fault with/on/at, healthy, in order, in working order, in service, "
        "operates, operating, in good condition/shape/order/state, in perfect order/condition, "
        "without problem/problems/issue/issues/trouble/fault/faults/errors/complaint/complaints, "
        "without any/further/a problem/problems/issue/issues/trouble/fault/faults/errors/hitch, "
        "started at/on the first, starts at/on the first, passed, perfect, no/without alarm/alarms/errors/error, "
        "everything ok/okay/fine/works, everything is/was ok/okay/fine, "
        "up and running, nothing wrong, no fault/faults found, funktioniert, läuft, laeuft, in ordnung"
    ),
    Cue.PROPERLY: phrases(
        "work/works/working/worked/run/runs/running/charge/charges/charging/open/opens/close/closes/closing "
        "properly/correctly/normally/right/reliably/well/as/smoothly, operates/operating/operate "
        "properly/correctly/normally, "
        "accept/accepts/accepting/take/takes/taking/read/reads/process/processes "
        "card/cards/payment/payments/contactless, "
        "accept/accepts/accepting/take/takes/taking/read/reads any/my/our/the/all/credit/debit/contactless/bank "
        "card/cards/payment/payments"
    ),
    Cue.RECOVERED: phrases(
        "back online/up, back in service/action/operation/business, back to normal, up/ok/fine/okay/good/alive "
        "again, "
        "works/working/running/ok/okay/fine/good since/again, ok/okay/fine/good now, can be used, usable again, "
        "has/have disappeared/vanished, freed, unjammed, unstuck, unblocked, "
        "recovered, back on line, came/come back, sorted itself out, has sorted, problem/issue/fault solved, "
        "fixed/repaired/mended by, "
        "fault/issue/problem/leak/error/alarm/noise/smell/jam "
        "cleared/fixed/resolved/solved/repaired/gone/sorted/removed, "
        "fault/issue/problem/leak/error/alarm/noise/smell/jam is/has/was gone/stopped/disappeared/vanished, "
        "funktioniert/läuft/geht/lädt wieder, wieder in ordnung/betrieb, wieder online, "
        "up and running again, false alarm, repariert, behoben, works/working like a charm"
    ),
    Cue.MENDED: phrases("fixed/repaired/resolved/restored/solved/mended/sorted/cured/rectified/cleared"),
    Cue.HEDGE: phrases(
        "intermittent/intermittently, sporadic/sporadically, sometimes, occasionally, at times, now and "
        "then/again, on and off, off and on, time to time, some days, "
        "every so often, every now and then/again, comes and goes, one/two time/times/out in/of, once in a while, "
        "every few minutes/hours/days, randomly, manchmal, ab und zu"
    ),
    Cue.ACTION: phrases(
        "start/starts/starting/started, latch/latches/latching, open/opens/opening/opened, close/closes/closing, "
        "shut/shuts/shutting, lock/locks/locking, unlock/unlocks/unlocking, charge/charges/charging/charged, "
        "boot/boots/booting, respond/responds/responding, react/reacts/reacting, light/lights, "
        "connect/connects/connecting, dispense/dispenses/dispensing, read/reads/reading, release/releases/releasing, "
        "move/moves/moving, turn/turns/turning, power/powers, engage/engages, heat/heats/heating, "
        "cool/cools/cooling, "
        "drain/drains, print/prints/printing, scan/scans/scanning, accept/accepts/accepting, ring/rings/ringing, "
        "work/run/runs/function/worked/wrok/wrk, switch/switches/come on, go up/down, stop/stops at, "
        "lift/lifts/lifting, "
        "give/gives/giving, deliver/delivers, sell/sells/selling, brew/brews/brewing, pour/pours, flow/flows, "
        "load/loads/loading, "
        "spin/spins, rotate/rotates/rotating, blow/blows/blowing, pump/pumps, spray/sprays, flush/flushes, "
        "rise/rises, "
        "raise/raises, lower/lowers, retract/retracts, extend/extends, recognise/recognises/recognize/recognizes, "
        "detect/detects, communicate/communicates, eject/ejects, return/returns, serve/serves, produce/produces, "
        "reach/reaches, register/registers, operate/operates, build pressure, hold/holds pressure, "
        "budge/budges/budging, initialise/initialize, authorise/authorize, "
        "geht/lädt/laedt/startet/öffnet/schließt/schliesst/reagiert"
    ),
    Cue.NOTHING: phrases(
        "let/lets me/us/you/anybody/people down, give/gives me/us/you a, return/returns to/from/the/my/your, "
        "reach me/us/you, "
        "sell/sells/selling you/us, closed on/at, opens on, open/opened until/from/at, "
        "problem/problems/issue/issues/trouble/question with the/my/your/our invoice/account/bill/payment/order, "
        "issue a/an/the/us/me, have/had/has trouble finding, half an, perfect job, the problem is/was that, "
        "not only/just/yet/many, not to mention, not sure/certain why/what/how/who/when, dont know "
        "why/what/how/who/when, "
        "out of order sign/signs/sticker/notice, take our/the/this survey online,  no "
        "idea/doubt/matter/problem/worries/rush/hurry, "
        "please note, work order/orders, working order, start work, fixed price/term/date, running out/late/around, "
        "power supply, sit/put/calm/walk/write/written/wrote/note/noted/jot/come/came/go/going/look/looking down, "
        "down the, down payment, upside down, back up the, down to, down in/at/by/here/there, "
        "working on/hours/day/days/from/with, works for me/us/council, works manager/department, "
        "online form/portal/store/order/shop/payment/banking/chat/account/booking/meeting/survey, "
        "order/ordered/book/booked/pay/paid/found/checked/reported online, shows/says/said/showing/appears online, "
        "open/read the attachment/file/pdf/link/mail/ticket/case, open a ticket/case/account, open "
        "ticket/tickets/case, "
        "opening hours/times, opened a/the ticket/case, dead end/line, broke the news, fault is mine/ours, "
        "my/our fault, nobodys fault, error on my/our part/side, stuck in/at traffic/work, loose end/ends, "
        "in working hours, fine for/with/by me/us, fine for/with, good for me/us, running a/the, "
        "close to/by, charge for/of/to/us/you, free of charge, in charge, charged for/us/to, charge me, "
        "turn up/left/right/into, come on site, read your/this/my, ring me/us/the, move in/into/to, "
        "if anything moves, fire drill, a light, traffic lights, scheduled shutdown, annual shutdown, "
        "right now, first thing, slow response, no answer, slow to reply, not in the office, error in/on the "
        "invoice/bill/quote/address, shut the door, no need, not because, works entrance/yard/exit, failed delivery, "
        "failure to pay, weak coffee, be fixed/repaired/resolved/sorted/mended, be fixed/repaired by"
    ),
    Cue.DOUBT: phrases(
        "you/he/she/they reported/said/wrote/claimed/claim, not true/correct that, not the case that, "
        "wouldnt/dont/didnt say/think/believe, would not say, do not think/believe, not/isnt/arent "
        "sure/certain, dont/didnt/doesnt know, unsure, no idea, wonder/wondering, doubt, cannot/cant tell"
    ),
}

NEGATIONS = phrases(
    "not/no/never/cannot/cant/wont/dont/doesnt/didnt/isnt/arent/wasnt/werent/hasnt/havent/couldnt/wouldnt/aint, "
    "dosent/doesent/dosnt/doesn/didn/isn/wont/ist/canot/cnt/duznt/dusnt/nt, "
    "nothing/none/neither/nor/without/nobody/nowhere, "
    "unable/refuses/refused/refusing/stopped/stops/quit/ceased/refuse/rarely/nicht/kein/keine"
) - {"ist"}
BREAKS = frozenset(
    (
        *",;:.!?",
        "but",
        "and",
        "so",
        "because",
        "although",
        "though",
        "while",
        "whereas",
        "however",
        "since",
        "aber",
        "und",
        "",
    )
)
BAD_GUARDS = phrases("if/unless/whether/might/may/would/case/wenn/falls/ob/prevent/avoid/before")
GOOD_GUARDS = BAD_GUARDS | phrases(
    "when/once/until/till/hope/hopefully/please/need/needs/want/wants/should/must/ensure/sure/get/expect/before/"
    "supposed/meant/bis/sobald/will/tomorrow"
)
PAST = phrases("was/were/had/wasnt/werent/wouldnt/couldnt/didnt/war")
AUXILIARIES = phrases("is/are/was/were/been/got/has/have/we/i/now/all/s/already/finally/they/he/she/just")
QUESTIONS = phrases("who/is/are/was/does/do/did/has/have/can/could/will/would/should/any/anyone/may/ist/kann")
#: What has troubles of its own that are none of an asset's, unless it is what tells of it.
OTHERS = phrases(
    "app/website/webpage/portal/phone/phones/laptop/computer/email/hotline/login/invoice/map/own/badge/fob/keycard/"
    "contract/tyre/tire/wifi/intercom"
)
#: What troubles these is a nuisance: the thing itself goes on.
LESSER_PARTS = phrases("card/cards/contactless/payment/payments/terminal/reader")
TELLERS = phrases("says/said/shows/show/reports/reported/tells/claims/according/via/listed/displays/marked")
AGAIN = phrases("again/back/now/today/agian/wieder")
#: Of ordinary text; a phrase is known by another of its words.
COMMON = phrases(
    "the/a/an/it/its/to/of/on/in/at/by/for/with/from/after/before/as/us/me/you/they/he/she/this/that/and/or/but, "
    "one/two/first/time/times/day/days/some/every/only/all/any/more/when/what/while/once/until/today/again/back, "
    "up/out/off/over/take/takes/taking/give/gives/found/go/goes/come/comes/came/keeps/stays/remains/looks/look, "
    "order/condition/state/shape/service/business/action/operation/will/just/away/half/well/self/like/further, "
    "read/reads/open/light/lights/display/screen/card/cards/payment/payments/power/speed/zu/nach/sich/im/am/sie"
)
