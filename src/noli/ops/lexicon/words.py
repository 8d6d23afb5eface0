"""Word lists of English that no dictionary gives: function words, abbreviations, units, and a or an."""

from __future__ import annotations

import re


def words(text: str) -> frozenset[str]:
    """Return the words of a list separated by white space."""
    return frozenset(text.split())


STOP = words(
    """
    a about above according accordingly across after afterwards again against ago ahead albeit all almost
    alone along already also although altogether always am amid among amongst an and another any anybody
    anyhow anyone anything anyway anywhere apart are around as aside at away back be became because become
    becomes becoming been before beforehand behind being below beneath beside besides best better between
    beyond both but by came can cannot certain come comes coming concerning could despite did different do
    does doing done down due during each either else elsewhere enough etc even ever every everybody everyone
    everything everywhere except few fewer following for former formerly from further furthermore gave get
    gets getting give given gives giving go goes going gone got gotten had half hardly has have having he
    hence her here hereby herein hers herself him himself his how however i if in indeed inside instead into
    is it its itself just keep keeps kept lately later latter least less lest let lets like likely little
    look looks looked looking lot lots made make makes making many may maybe me mean means meant meanwhile
    might mine minus more moreover most mostly much must my myself namely near nearby nearly need neither
    never nevertheless next no nobody none nonetheless nor not nothing notwithstanding now nowadays nowhere
    of off often ok okay on once one ones oneself only onto opposite or other others otherwise ought our
    ours ourselves out outside over overall own part parts past per perhaps please plenty plus previously
    prior put puts quite rather really regarding regardless respectively round said same save saw say says
    saying see seeing seem seemed seeming seems seen sees self several shall she should since so some
    somebody somehow someone something sometime sometimes somewhere soon still such take taken takes taking
    than thanks that the their theirs them themselves then thence there thereafter thereby therefore therein
    these they thing things think this those though thought through throughout thru thus till to together
    too took top toward towards under underneath unless unlike until up upon us use used uses using various
    versus very via was way ways we well went were what whatever when whence whenever where whereas whereby
    wherein whereupon wherever whether which whichever while whilst whither who whoever whole whom whomever
    whose why will with within without would yeah yes yet you your yours yourself yourselves monday tuesday
    wednesday thursday friday saturday sunday january february march april may june july august september
    october november december zero two three four five six seven eight nine ten eleven twelve thirteen
    fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty
    ninety hundred hundreds thousand thousands million millions billion billions trillion trillions dozen
    dozens first second third fourth fifth sixth seventh eighth ninth tenth last twice thrice quarter
    quarters mr mrs ms dr prof sir madam account addition amount basis case cases couple example fact
    fashion form instance kind kinds manner number order point range result series sort sorts terms type
    types variety view
    """
)

# Dated, jocular, clipped or loaded lemmas that the dictionary lists without saying so.
SPARED = words(
    """
    anon baddie betwixt booze champ cocain collar corp cretin dada doc ere exudate fille fry granger grunge
    gubbins hap haply hombre hotshot hr idiot imbecile info infotainment kiddo kine lad lass mag maiden
    maven mayhap mic mitt mongrel morn moron nipper nympho oft oftentimes ofttimes orphic pappa perchance
    perpend pic publically regime retard shaper somebody someone tidings tike trafficker truelove tyke whiz
    whizz wight wiz yore yr
    """
)

# A measure must stay the measure it is, and so must what is counted in it.
UNITS = words(
    """
    acre ampere barrel bit buck byte cent centimetre centimeter century day decade degree dollar euro foot
    franc gallon gigabyte gram gramme hectare hertz hour inch kelvin kilo kilobyte kilogram kilometre
    kilometer knot litre liter megabyte metre meter mile millimetre millimeter minute month newton ounce
    penny percent percentage pint point pound quart quid rouble ruble rupee second stone terabyte ton tonne
    volt watt week yard year yen yuan
    """
)

# Followed by a full stop that ends no sentence. Single letters (initials) count as well.
ABBREVIATIONS = words(
    """
    al apr approx apt art assoc aug ave bros ca cap capt cf ch chap cmdr co col corp cpl dec dept dr ed eds
    eq eqs esp est etc ext feb fig figs ft gen gov hon inc incl jan jr jul jun lb lt ltd maj mar max messrs
    min misc mr mrs ms mt no nos nov oct op oz pp prof pt ref refs rep rev sec secs sen sep sept sgt sq sr
    st ste suppl tab univ viz vol vols vs
    """
)

_AN = re.compile(
    r"(?:hour|honest|honor|honour|heir)"
    r"|(?!eu|ewe|one(?!r)|once|ouija|uni(?![nmd])|unidir|unimod|unanim|us[aeu]|usi|ut[eio]|ubi|ufo|uk|ur[aio]|uvu)"
    r"[aeiou]",
)


def needs_an(word: str) -> bool:
    """Whether the indefinite article before a word is "an".

    By its letters: a vowel letter needs "an" unless it sounds like "you" or "won" (*unit*, *useful*, *euro*,
    *one*), a consonant letter needs "a" unless it is silent (*hour*, *honest*, *honour*, *heir*).

    Args:
        word: One word, any case; acronyms and numbers are judged as if they were words.
    """
    return _AN.match(word.lower()) is not None
