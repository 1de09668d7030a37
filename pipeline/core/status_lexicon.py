"""Verbs, adjectives and nouns of failure and recovery in every form; what `status_words` lists counts before them."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.status_words import Cue, phrases


def verbs(listed: str) -> frozenset[str]:
    """Return all forms of regular verbs of a comma-separated list; "drip:p" doubles its last letter."""
    return frozenset(form for one in listed.split(",") for form in _forms(*one.strip().partition(":")[::2]))


def _forms(verb: str, doubled: str) -> Iterator[str]:
    stem = verb.removesuffix("e") if not doubled else f"{verb}{doubled}"
    yield from (verb, f"{verb}es" if verb.endswith(("s", "sh", "ch", "x", "z")) else f"{verb}s")
    yield from (f"{stem}ed", f"{stem}ing")


LEXICON = {
    Cue.DOWN: phrases(
        "stalled/stalling, but/then/it/motor/engine/always stalls, stalls after/when/every/under/again/immediately, "
        "conk/conks/conked out, packs/pack/packed up, pack/packs/packed/packing it in, "
        "gave/give/gives/given up working/on/completely/altogether/today/yesterday, has/have/it/just gave up, "
        "went/gone/goes/going dead/dark/black/blank/down/offline/kaput, went out of order/service, "
        "collapsed, seized, seized up, wrecked, destroyed, demolished, ruined, fried, knackered, totalled, lifeless, "
        "defunct, deactivated, disabled, motionless, immobile, derailed, inactive, unserviceable, on strike, "
        "beyond repair, in pieces/bits, done for, a goner, a write off, "
        "out of use/operation/commission/play, no use, "
        "non functional/operational/working/responsive, nonfunctional, nonoperational, nonresponsive, "
        "off its/the hinges/rails/track/tracks, fell/fallen/falls/came/torn/ripped apart/off, "
        "snapped, snapped off, knocked over/down, out cold, stranded, "
        "closed for repair/repairs/maintenance, closed/shut until further notice, taped/cordoned/closed/sealed off, "
        "hangs/hanging/hung/stuck/frozen at/on the/its "
        "start/welcome/boot/loading/first/login/language/home/splash/startup, "
        "hangs/hanging/hung/stuck/frozen at/on boot/startup, "
        "did/do nothing, doing absolutely nothing, does absolutely/simply/just nothing, "
        "no reaction/reactions, no life, "
        "no heat/heating/cooling/pressure/output/coffee/signal/ventilation, "
        "no hot water, not a peep/beep/flicker/sound, nothing at all, no go, no joy, no longer an option, "
        "outage/outages/blackout, switched/shut/turned itself off/down, keeled over, off since, stays/remains off, "
        "cannot/cant/couldnt get in/out/through/it/past, unable to get in/out/through, nobody/noone can/could get "
        "in/out/through, trapped inside, stopped dead/moving/responding/charging/cooling, "
        "steht still, streikt, klemmt, hängt fest, gestoppt, stillstand, ohne funktion, keine "
        "reaktion/funktion/verbindung/anzeige, funktionslos, gesperrt, ausser/außer funktion"
    ),
    Cue.DEGRADED: phrases(
        "disconnects/disconnecting, ignores/ignored/ignoring, dodgy, iffy, flaky, patchy, "
        "erratic/erratically, jerky, "
        "shaky, shakes, shaking, stiff, stiffly, crooked, misaligned, lopsided, scratched, dented, corroded, rusty, "
        "unreadable, illegible, dim, dimmed, unpredictable, unpredictably, poorly, badly, limping, haywire, "
        "on its last legs, seen better days, going/gone/goes/went mad/crazy/nuts/haywire/bonkers, "
        "throws a tantrum, playing tricks, something/somethings/is/are/goes/went/going/anything wrong, "
        "not right/great/ideal/perfect/happy/normal/quite, too warm/slow/loud/tight/heavy/stiff, "
        "hard/difficult/tricky to open/close/move/push/pull/read/start/use/turn/hear, heavy to open/push/move, "
        "eats/ate/swallows/swallowed/swallowing/keeps my/our/the/all "
        "card/cards/coin/coins/money/ticket/tickets/notes, "
        "keeps/kept opening/closing/beeping/moving/switching/flashing/blinking/losing/asking/saying/showing/failing/"
        "falling/getting/dropping/going/turning/jamming/sticking/freezing/shutting/cutting/tripping/stalling/"
        "hanging/leaking, "
        "keep/keeps/kept on stopping/dropping/failing/freezing/restarting, crashes/crashing, reboots itself, "
        "gets/get/getting/got stuck/jammed every/sometimes/from/on/now, gets/get/getting stuck/jammed, jams, "
        "drops/loses/losing/lost connection/signal, loses/drops/losing its/the/my connection/signal/session, "
        "drop/drops/dropped/cut/cuts out, in/with fits, "
        "needs several/many/two/three/multiple attempts/tries/goes, only after/on several/many/the, "
        "switches/shuts/turns itself off/down, too hot, wrong floor, out of level, "
        "alarm/warning/beep/beeping is/are back, "
        "not/isnt/arent fully/completely/quite/entirely working/operational/functional, "
        "isnt/doesnt/wont/dont always, "
        "sehr/zu/so laut/heiß/heiss/langsam, spinnt, hakt, ruckelt, klappert, brummt, quietschen, defekte, fehler, "
        "problem/probleme"
    )
    | verbs(
        "rattle, squeak, squeal, screech, creak, scrape, clunk, clank, clatter, whine, howl, rumble, thump, judder, "
        "shudder, jerk, wobble, vibrate, stutter, leak, drip:p, seep, ooze, flicker, lag:g, overheat, malfunction, "
        "misbehave, glitch, knock, buzz, slam:m, wheeze, sputter, splutter, sag:g"
    )
    | phrases(
        "struggles/struggling, vibration/vibrations, banging, thumping, humming/hums loudly, crackle/crackles/crackling"
    ),
    Cue.ONLINE: phrases(
        "as good as new, good as new, like new, spot on, tip top, is/are/its/works alright, "
        "is/are/its all right, purring, humming along, "
        "behaving, behaves, like clockwork, like a dream/charm, "
        "runs/running/works/working smoothly/nicely/great/perfectly/flawlessly/faultlessly, without a hitch/glitch, "
        "problem/trouble/fault free, all green, nothing to report, available, "
        "fully functional/operational/working, cant/cannot complain, can not complain, in full working order, "
        "its/it fine/ok/okay/good, is/are/its/it/was all/still/also/perfectly/just/absolutely/both/actually/quite "
        "fine/ok/okay/good/well/right, no/without faults/defects/findings/abnormalities, "
        "both/all/they/chargers/doors/lifts/gates/units/pumps/three/two work, they/both charge/run, "
        "does/doing its job, is/are/looks/sounds/pressure/temperature/everything normal, "
        "without fault/faults/defect/defects, "
        "einwandfrei, fehlerfrei, keine probleme/störung/störungen/mängel, ohne probleme/mängel/befund, alles "
        "gut/ok/okay/bestens"
    ),
    Cue.RECOVERED: phrases(
        "is/are/was/were/its/all back, back on/alive/running/working/online/up/operational/open, back to "
        "life/work/normal/business/usual, back from the dead, back in use/order/working/full, back on its/track/air, "
        "came/come/comes back to life, sprang/sprung/spring to/back, woke up, kicked back in, fixed/healed/cured/"
        "resolved/righted itself, sorted itself, in use again, available/usable/accessible/reachable/functional/"
        "operational/online/running/open/healthy again, "
        "quiet/dry/cool/smooth/normal/green/tight/bright/readable/straight/silent/clear "
        "again/now, all clear/sorted/good/fixed/resolved/fine now, happy again, "
        "a thing of the past, cured, revived, resurrected, good as new again/now, "
        "wieder frei/ok/gut/online/verfügbar/normal/dicht/leise, wieder in, läuft jetzt, geht jetzt, behoben, "
        "gelöst, erledigt"
    ),
    Cue.ENDED: phrases(
        "gone, stopped, ceased, subsided, vanished, disappeared, history, went/gone/goes away, is/are/was/now over, "
        "weg, vorbei, verschwunden"
    ),
    Cue.PROPERLY: phrases("cards accepted, cards/card/contactless is/are accepted/read/taken"),
    Cue.MENDED: phrases("reinstated/reconnected/unblocked/reactivated"),
    Cue.HEDGE: phrases(
        "on the left/right/upper/lower/top/bottom half/side/part, half of the/it, every other/second/third time/try/"
        "attempt/car/card/customer, every couple of, most of the time, at random, more often than not, "
        "once or twice a, "
        "several times a/per, time and again, ever so often, from time to, gelegentlich, hin und wieder, immer "
        "wieder, teilweise, zeitweise"
    ),
    Cue.ACTION: phrases(
        "budged, go on/anywhere, comes/coming on/up, fire/fires up, "
        "wake/wakes up, take/takes/taking coins/cash/money/notes/tickets, wash/washes/washing, "
        "make/makes/making coffee/contact/ice, initialised/initialized, hold/holds/holding charge, "
        "sync/syncs/syncing, trigger/triggers, descend/descends, ascend/ascends, swing/swings, slide/slides/sliding, "
        "fährt/faehrt/kühlt/kuehlt/druckt/pumpt/dreht/nimmt/bewegt/funktionieren/schaltet/heizt"
    ),
    Cue.NOTHING: phrases(
        "noise/leak/leakage/fault/error/problem/issue/alarm/outage/failure/trouble "
        "level/levels/test/tests/report/reports/log/logs/list/lists/history/form/forms/statistics/desk/detector/"
        "detectors/limit/limits/protection/measurement/measurements/rate/rates/reporting/hotline/line, "
        "no power/pressure cut/cuts, power cut, power/planned/scheduled outage, stranded in traffic, available "
        "on/for/from/at/to/in/next/tomorrow/until, anyone/someone/you/technician available, "
        "went/gone/goes down the/to/in/by/here/there/for, "
        "back in the/my, back on monday/tuesday/wednesday/thursday/friday/saturday/sunday, is/are back in the/my "
        "office/team, is/are back from, is/are back at work/my, back to you/me/us, "
        "come/came/get/getting/got/be back to/with you/me/us, call/calls/called/write/wrote/ring back, "
        "in use by, just knocked, knocked on, disabled "
        "person/people/parking/access/visitors/toilet/users/customers/bay/badge, stuck in the office/mud/snow, "
        "wrong number/address/place/invoice/plate/person/department/change/date/way/key/ticket, "
        "badly needed/need, come off it, gave up waiting, give/gave up on, no water/coffee/air for me, "
        "normal hours/working/business/operation/office/opening, "
        "past week/month/year, no pressure loss/drop/losses, gone to/home/on/for/through/into, has gone to, going on "
        "holiday/vacation/site/about/with/there/here, make/makes it work/run/start/working/running/go again, "
        "no/any other problem/problems/issue/issues/fault/faults/trouble"
    ),
    Cue.DOUBT: phrases("could be/have, could well be, it is possible that, possibly, supposedly, not clear if/whether"),
}
#: What happened once: over where the thing is said to work afterwards.
EVENTS = phrases(
    "tripped, failed, crashed, died, froze, broke, broke down, conked/knocked out, gave up, "
    "has died, just died, it died, "
    "lost power/connection, went dead/dark/black/blank/down/offline, stalled, packed up, packed it in, shut down, "
    "switched/shut/turned itself off/down, fell/came off, collapsed, stopped suddenly/completely, halted, jammed, "
    "locked up, switched/shut/turned off, disconnected, ausgefallen, did nothing, hung"
)
#: Between a "not" and what it denies.
FILLERS = phrases(
    "seem/seems/seemed/appear/appears/to/be/being/been/really/even/want/wants/currently/actually/yet/"
    "able/any/ever/anymore"
)
CONDITIONS = phrases("if/unless/whether/wenn/falls/ob/case")
#: Who is asked to do what: such a question states its matter.
REQUESTS = phrases("can/could/would/will")
REQUESTED = phrases("you/u/someone/somebody/anyone/anybody/they")
DEEDS = phrases(
    "fix/repair/mend/look/come/send/reset/reboot/restart/replace/help/sort/deal/attend/free/release/unlock/unjam"
)
#: A recovery that lasts so long is none.
A_WHILE = phrases("minute/minutes/min/mins/second/seconds/hour/hours/while/bit/moment/until")
