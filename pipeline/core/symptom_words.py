"""The symptoms that people describe, and the patterns that tell each: English, with the plainest German."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, StrEnum, auto
from types import MappingProxyType


class Symptom(StrEnum):
    """What somebody noticed; stored with signals, never renamed."""

    NO_POWER = "no_power"
    DISPLAY_DARK = "display_dark"
    CONNECTOR_DAMAGED = "connector_damaged"
    PAYMENT_REFUSED = "payment_refused"
    SLOW = "slow"
    ERROR_CODE = "error_code"
    NOISE = "noise"
    LEAK = "leak"
    OVERHEATING = "overheating"
    WONT_OPEN = "wont_open"
    WONT_CLOSE = "wont_close"
    INTERMITTENT = "intermittent"


class Kind(Enum):
    """How a pattern is to be read."""

    TROUBLE = auto()  #: told unless it is denied
    DENIED = auto()  #: holds its own "not", so another one takes nothing away
    DUTY = auto()  #: what the thing should do: told when it is denied
    HINT = auto()  #: told in a sentence that tells of trouble


#: Up to four words between two that belong together, none of them from another clause.
_GAP = r"(?:[ \t\n]+[\w'/-]+){0,4}?[ \t\n]+"
_SHORT = r"(?:[ \t\n]+[\w'-]+){0,2}?[ \t\n]+"
_NOT = (
    r"(?:not|n't|never|no longer|nor|neither|cannot|can't|cant|won't|wont|doesn't|doesnt|dont|don't|didn't|"
    r"isn't|isnt|refuses to|fails to|unable to|failed to|refused to|wouldn't|couldn't|nicht)"
)
_SCREEN = r"(?:touch ?screen|screen|display|monitor|lcd|bildschirm)"
_LEAD = r"(?:connector|plug|cable|cord|socket|nozzle|hose|pin|pins|inlet|stecker|kabel|lead)"
_HURT = (
    r"(?:bent|broken|brokn|damaged|cracked|torn|frayed|cut|burnt|burned|melted|loose|ripped|snapped|smashed|"
    r"split|missing|"
    r"crushed|severed|shredded|exposed|chewed|kaputt|beschädigt|abgerissen)"
)
_PAY = (
    r"(?:cards?|payments?|contactless|card reader|card terminal|payment terminal|visa|mastercard|girocard|amex|"
    r"paying|"
    r"apple pay|google pay|kartenzahlung)"
)
_REFUSED = r"(?:refused|rejected|declined|denied|fails?|failed|failing|declines|bounced|abgelehnt)"

PATTERNS: Mapping[Symptom, tuple[tuple[Kind, str], ...]] = MappingProxyType(
    {
        Symptom.NO_POWER: (
            (
                Kind.DENIED,
                (
                    r"(?:no|without|lost|lost all|has no|kein|keinen)[ \n](?:any |all )?(?:power|"
                    r"electricity|juice|current|mains|strom)(?![ -](?:outage|save|saving|issue|problem))"
                ),
            ),
            (
                Kind.DENIED,
                (
                    rf"{_NOT}[ \n](?:even )?(?:power|turn|switch|come|powering|turning|switching|"
                    rf"coming)[ \n](?:it )?on(?![ \n](?:site|monday|tuesday|wednesday|thursday|friday|time))"
                ),
            ),
            (Kind.DENIED, r"no signs? of life|not even a light|no lights? (?:at all|on it|whatsoever)|no leds?\b"),
            (
                Kind.TROUBLE,
                (
                    r"(?:power|electricity|mains)[ \n](?:is|was|went|has been|seems)[ \n](?:completely |"
                    r"totally )?(?:gone|out|off|lost|dead|cut)"
                ),
            ),
            (Kind.DENIED, rf"{_NOT}[ \n](?:power|powering)[ \n]up\b"),
            (Kind.TROUBLE, r"powerless|unpowered|dead as a doornail"),
        ),
        Symptom.DISPLAY_DARK: (
            (Kind.TROUBLE, rf"{_SCREEN}[ \t]*[:=-][ \t]*(?:black|blank|dark|dead|off)\b"),
            (Kind.DENIED, rf"(?:cannot|can't|cant|unable to) (?:see|read) anything on (?:the |its )?{_SCREEN}"),
            (Kind.TROUBLE, rf"{_SCREEN}{_GAP}(?:black|blank|dark|dead|off|schwarz|dunkel|tot)\b"),
            (Kind.TROUBLE, rf"(?:black|blank|dark|dead|schwarzer)[ \n]{_SCREEN}"),
            (
                Kind.DENIED,
                (
                    rf"(?:no|without(?: a| any)?|kein)[ \n]{_SCREEN}(?! (?:issue|problem))|nothing (?:at "
                    rf"all )?(?:is )?(?:shown |showing |displayed )?on (?:the |its )?{_SCREEN}"
                ),
            ),
            (Kind.DENIED, rf"{_SCREEN}[ \n](?:shows|displays|showing|is showing) nothing"),
            (
                Kind.DENIED,
                (
                    rf"{_SCREEN}(?:[ \n](?:does|is|will|has|"
                    rf"do))?[ \n]?{_NOT}{_SHORT}?[ \n]?(?:light(?:ing)?|com(?:e|ing)|turn(?:ing)?|show(?:ing)?|"
                    rf"work(?:ing)?|working|lit)\b"
                ),
            ),
        ),
        Symptom.CONNECTOR_DAMAGED: (
            (Kind.TROUBLE, rf"\b{_LEAD}{_GAP}{_HURT}\b"),
            (Kind.TROUBLE, rf"\b{_HURT}{_SHORT}{_LEAD}\b"),
            (Kind.TROUBLE, rf"\b{_HURT}[ \n]{_LEAD}\b|\b(?:bare|exposed) (?:wires?|copper)"),
            (
                Kind.TROUBLE,
                (
                    rf"(?:somebody|someone|vandals|they|thieves)(?: has| have)? (?:cut|stolen|ripped|"
                    rf"torn|chopped)(?: off)? (?:the |its )?(?:charging )?{_LEAD}"
                ),
            ),
        ),
        Symptom.PAYMENT_REFUSED: (
            (Kind.DENIED, rf"\b{_PAY}{_GAP}{_REFUSED}\b"),
            (
                Kind.DENIED,
                (
                    rf"\b{_REFUSED[:-1]}|refuses|refusing|rejects|rejecting|declining|"
                    rf"denies)(?:[ \n]\w+){{0,3}}?[ \n]{_PAY}\b"
                ),
            ),
            (
                Kind.DENIED,
                (
                    rf"{_NOT}{_SHORT}(?:accepts?|accepting|takes?|taking|reads?|reading|process(?:es)?|"
                    rf"processing|recogni[sz]es?|likes?)(?:[ \n][\w']+){{0,3}}?[ \n]{_PAY}\b"
                ),
            ),
            (
                Kind.DENIED,
                (
                    rf"{_NOT}[ \n](?:accepts?|accepting|takes?|taking|reads?|reading|process(?:es)?|"
                    rf"processing|recogni[sz]es?)(?:[ \n][\w']+){{0,3}}?[ \n]{_PAY}\b"
                ),
            ),
            (
                Kind.DENIED,
                (
                    rf"\b{_PAY}(?:[ \n][\w']+){{0,2}}?[ \n](?:{_NOT}|is not|are not|\w+n't)[ \n](?:being "
                    rf")?(?:accepted|work|working|go(?:ing)? through|taken|read|recogni[sz]ed|processed|respond\w*)"
                ),
            ),
            (
                Kind.DENIED,
                (
                    r"(?:can't|cannot|cant|can not|couldn't|couldnt|could not|unable to|nobody can|"
                    r"no one can|not able "
                    r"to)[ \n](?:\w+[ \n])?pay\b|stopped (?:taking|accepting|reading) (?:\w+ )?cards?"
                ),
            ),
            (Kind.DENIED, rf"\b(?:accepts?|takes?|taking|reads?|accepting)[ \n]no[ \n](?:\w+[ \n])?{_PAY}\b"),
            (
                Kind.DENIED,
                (
                    rf"\b{_PAY}[ \n](?:(?:is|are)[ \n])?(?:currently[ \n])?(?:not[ \n]possible|"
                    rf"impossible|unavailable)\b"
                ),
            ),
            (Kind.DENIED, rf"\bno[ \n](?:card[ \n])?{_PAY}[ \n](?:possible|accepted|work|taken)"),
            (
                Kind.TROUBLE,
                (
                    r"(?:card reader|card terminal|payment terminal|card machine|pin ?pad|"
                    r"kartenleser)(?:[ \n][\w']+){0,3}?[ \n](?:dead|broken|down|dark|offline|out of order|kaputt|"
                    r"defekt|jammed|stuck|frozen)"
                ),
            ),
        ),
        Symptom.SLOW: (
            (
                Kind.TROUBLE,
                (
                    r"\b(?:slow|slower|slowly|sluggish|sluggishly|lagging|laggy|lags|slowed|langsam|"
                    r"slowness|slowing)\b(?![ \n](?:reply|response from|to (?:reply|answer)))"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"\btak(?:es|ing|e)[ \n](?:about |over |nearly |almost |at least |around |up to |us |"
                    r"it )?(?:ages|forever|(?:far |much |way )?too long|so long|very long|an age|"
                    r"an eternity|ewig|(?:\d+|two|three|"
                    r"four|five|ten|several) (?:full |whole |long )?minutes)\b"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"half (?:the |its )?(?:normal |usual )?(?:speed|power)|reduced (?:speed|power)|at a "
                    r"crawl|crawling|snail|only (?:with |at |gives |delivers )?\d+(?:[.,]\d)? ?kw|creeps\b"
                ),
            ),
        ),
        Symptom.ERROR_CODE: (
            (
                Kind.TROUBLE,
                (
                    r"\b(?:error|fault|alarm|failure|err)[ \n-]?(?:code|codes|message|messages|number|"
                    r"no\.?|nr\.?)\b"
                ),
            ),
            (Kind.TROUBLE, r"\b(?:error|fault|alarm|err|fehler|fehlercode)[ \n:#]{1,2}(?:[a-z]{1,4}[ -]?)?\d{1,5}\b"),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:error|fault)[ \n:#]{1,2}[a-z]{1,3}[ -]?\d{1,5}\b|"
                    r"\bcode[ \n][a-z]{0,3}[ -]?\d{1,4}\b"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:shows?|showing|displays?|displaying|reads?|says|flashing|flashes|blinking|"
                    r"reports?|throws|throwing|gives|giving)(?:[ \n][\w']+){0,3}?[ \n]['\"]?(?:an? )?(?:error\b|"
                    r"fehler\b|[ef][- ]?\d{1,4}\b|err\b)"
                ),
            ),
        ),
        Symptom.NOISE: (
            (
                Kind.TROUBLE,
                (
                    r"\b(?:noises?(?![ \n](?:levels?|limits?|complaints?|measure\w*|protection|reduction))|"
                    r"noisy|noisily|grinding|grinds|squeak\w*|squeal\w*|creak\w*|"
                    r"scrap(?:es?|ing)|rumbl\w+|howl\w*|thump\w*|rattl(?:es?|ing|y)|buzz(?:es|ing)?|screech\w*|"
                    r"clicking|knocking|banging|whin(?:es|ing)|clunk\w*|clank\w*|clatter\w*|knocks|"
                    r"vibrat(?:es|ing|ions?)(?=[ \n]loud)|crackl\w+|hiss(?:es|ing)|groan(?:s|ing)|shriek\w*|"
                    r"whistl(?:es|ing)|quietsch\w*|geräusche?|"
                    r"hums|loud (?:hum|bang|pop|crack|noise)|humming)\b"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:sehr|zu|so)[ \n]laut\b|\b(?:is|are|gets?|getting|very|so|too|really|extremely|"
                    r"awfully|quite)[ \n](?:very |"
                    r"really |so |too )?loud\b"
                ),
            ),
        ),
        Symptom.LEAK: (
            (
                Kind.TROUBLE,
                (
                    r"\b(?:leak|leaks|leaked|leaking|leakage|leaky|drip|drips|dripping|puddle|puddles|"
                    r"undicht|tropft|leckt|seeps?|seeping|ooz(?:es|ing))\b"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:losing|loses|lost|spilling|spilled|seeping|"
                    r"pouring)[ \n](?:\w+[ \n]){0,2}(?:oil|water|fluid|coolant|diesel|fuel|"
                    r"milk|coffee)\b|\b(?:oil|water|fluid|coolant|diesel|fuel|milk|coffee)[ \n](?:is |was |"
                    r"are )?(?:all over|on the floor|"
                    r"under|underneath|is coming out|coming out|comes out|running out|runs out|running down|"
                    r"everywhere|seeping|pouring|"
                    r"below|beneath)\b|\bpool of (?:oil|water|fluid|coolant|diesel|fuel)\b"
                ),
            ),
        ),
        Symptom.OVERHEATING: (
            (
                Kind.TROUBLE,
                (
                    r"\b(?:overheat\w*|over-?temp(?:erature)?|sehr heiß|zu heiß|zu heiss|smolder\w*|"
                    r"überhitzt\w*|scorch\w*|(?:too|very|really|extremely|burning|"
                    r"scalding|boiling|red|crazy|super|so|awfully|painfully) hot)\b"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:gets?|getting|got|is|running|runs|becomes|became|"
                    r"feels?)[ \n](?:\w+[ \n])?hot\b(?! water)|hot to (?:the )?touch|\bheats? up\b"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:smoke|smokes|smoking|smouldering|smoldering)\b(?![ \n-](?:detector|alarm|free|"
                    r"area|break))|\bburn(?:ing|t|ed) (?:plastic )?smell|(?:smell\w*|stink\w*|stench) (?:of |like |"
                    r"strongly of )?(?:something )?burn\w*|smell\w* (?:of|like) (?:burn\w*|hot|melting|melted)"
                ),
            ),
        ),
        Symptom.WONT_OPEN: (
            (
                Kind.DENIED,
                (
                    r"(?:can't|cannot|cant|couldn't|unable to|nobody can|impossible to|could not) get (?:it|the \w+|"
                    r"\w+) open(?:ed)?\b"
                ),
            ),
            (
                Kind.DUTY,
                (
                    r"\b(?:open|opens|opening|opened|unlock|unlocks|unlocking|öffnet|"
                    r"öffnen)\b(?![ \n](?:the |your |this |that |a |an |any |my )?(?:attachment|file|link|pdf|mail|"
                    r"ticket|case|account|app|invoice|website|page|document))"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:stuck|jammed|frozen|wedged)[ \n](?:shut|closed|in the closed position)|"
                    r"\b(?:remains?|stays?|stayed|remained|stuck)[ \n](?:shut|closed|locked)\b|"
                    r"\b(?:stuck|jammed)[ \n](?:in the )?(?:down|lowered)\b(?: position)?"
                ),
            ),
        ),
        Symptom.WONT_CLOSE: (
            (
                Kind.DENIED,
                (
                    rf"(?:can't|cannot|cant|couldn't|unable to|nobody can|impossible to|{_NOT}) get (?:it|"
                    rf"the \w+|\w+) "
                    rf"(?:closed|shut|locked)|{_NOT} stay (?:shut|closed|locked)\b"
                ),
            ),
            (
                Kind.DUTY,
                (
                    r"\b(?:close|closes|closing|closed|latch|latches|latching|shut|shuts|shutting|schließt|"
                    r"schliesst|schließen)\b(?![ \n]down|[ \n]to\b|[ \n]by\b|[ \n](?:the |this |that |my "
                    r")?(?:ticket|case))"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:stuck|jammed|frozen|wedged)[ \n](?:wide |half |half-)?(?:open|in the open "
                    r"position)|\b(?:remains?|stays?|hangs?|stayed|remained|standing|stands)[ \n](?:wide |half |"
                    r"half-)?open\b(?! (?:too|for|a bit))"
                ),
            ),
        ),
        Symptom.INTERMITTENT: (
            (
                Kind.TROUBLE,
                (
                    r"\b(?:intermittent\w*|sporadic\w*|temperamental|hit (?:and|or) miss|comes and goes|"
                    r"on the blink|wackelkontakt)\b"
                ),
            ),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:drops|dropping|cuts|cutting|dropped)[ \n](?:in and )?out\b|\b(?:keeps|kept) (?:on "
                    r")?(?:dropping|stalling|freezing|shutting (?:down|off)|hanging|losing connection|dying|"
                    r"restarting|rebooting|crashing|cutting|disconnecting|losing|resetting|switching "
                    r"off|going off|tripping|stopping)\b"
                ),
            ),
            (Kind.TROUBLE, r"\bdisconnects\b|\b(?:loses|losing|drops) (?:its |the )?(?:connection|signal|session)\b"),
            (
                Kind.TROUBLE,
                (
                    r"\b(?:immer wieder|sporadisch|zeitweise|gelegentlich)\b|\bworks? (?:off and on|"
                    r"on and off)\b"
                ),
            ),
            (Kind.TROUBLE, r"\bonly (?:sometimes|occasionally|now and then)\b|\b(?:sometimes|occasionally) only\b"),
            (Kind.DENIED, r"\bnot (?:always|every time|each time|consistently)\b|n't always\b"),
            (
                Kind.HINT,
                (
                    r"\b(?:sometimes|occasionally|at times|now and (?:then|again)|from time to time|every "
                    r"(?:so often|few (?:minutes|hours|days|seconds)|now and then|couple of \w+|"
                    r"other (?:time|day|car|customer|attempt|"
                    r"try|card)|(?:second|third) (?:time|try|car|attempt|customer))|intermittently|"
                    r"most of the time|on and off|off and on|half (?:of )?the time|randomly|"
                    r"at random|some days|once in a while|(?:one|two|three|\d) (?:time|times|tries|attempts)? "
                    r"?(?:out of|in) (?:two|three|four|five|ten|\d+)|manchmal|ab und zu)\b"
                ),
            ),
        ),
    }
)

COMPILED: tuple[tuple[Symptom, Kind, re.Pattern[str]], ...] = tuple(
    (symptom, kind, re.compile(written)) for symptom, patterns in PATTERNS.items() for kind, written in patterns
)
