"""Words of the synthetic set: of each domain, and the names that tell one question from another.

No word of a name is a word of a domain, and no colour of the palette is either.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """What the pages of one domain are written in.

    Attributes:
        title: of its bulletin; three words that stand in no sentence.
        subjects, verbs, objects, tails: of running text, in this order.
        attributes: two words and a unit each: what facts and columns are about.
    """

    title: str
    subjects: tuple[str, ...]
    verbs: tuple[str, ...]
    objects: tuple[str, ...]
    tails: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split("/"))


def _attributes(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (phrase.rsplit(" ", 1) for phrase in _phrases(text))
    return tuple((name, unit) for name, unit in pairs)


DOMAINS: dict[str, Vocabulary] = {
    "commerce_manufacturing": Vocabulary(
        "Factory Trade Bulletin",
        _phrases("""assembly crews / buyers / machinists / warehouse managers / suppliers /
            freight agents / quality inspectors / tooling engineers / retailers / packers"""),
        _phrases("inspect / ship / order / store / repack / count / sort / stamp"),
        _phrases("""bearings / pallets / castings / gaskets / spare parts / finished goods /
            crates / sheet metal / fasteners / moulds"""),
        _phrases("""before the evening shift / at the loading dock / under a fixed contract /
            along the conveyor / with handheld scanners / for overseas customers /
            after each audit / in the main hall"""),
        _attributes("""cycle time seconds / scrap rate percent / demand backlog units /
            batch size pieces / delivery delay days / stock cover weeks /
            press force tonnes / machine uptime hours"""),
    ),
    "construction": Vocabulary(
        "Building Site Gazette",
        _phrases("""bricklayers / foremen / surveyors / hoist operators / carpenters /
            structural engineers / plumbers / roofers / architects / scaffolders"""),
        _phrases("pour / brace / measure / level / anchor / excavate / erect / insulate"),
        _phrases("""footings / timber frames / retaining walls / trenches / steel beams /
            stairwells / roof trusses / drainage pipes / concrete ramps / facades"""),
        _phrases("""ahead of the rainy season / beside the access road / under safety nets /
            to the agreed drawings / with laser levels / for the municipal client /
            after soil tests / in two stages"""),
        _attributes("""curing period days / slab thickness millimetres / crane reach metres /
            permit fee euros / joist spacing centimetres / excavation depth decimetres /
            labour quota workers / mortar ratio parts"""),
    ),
    "crm": Vocabulary(
        "Customer Desk Digest",
        _phrases("""account managers / support agents / sales teams / switchboard staff /
            campaign planners / subscribers / loyalty staff / field representatives /
            renewal specialists / onboarding coaches"""),
        _phrases("contact / survey / retain / onboard / segment / notify / upgrade / follow"),
        _phrases("""prospects / trial users / churned clients / mailing lists / complaint tickets /
            service contracts / loyalty members / product demos / inbound leads / invoices"""),
        _phrases("""within the same week / through the help portal / after a callback /
            with scripted messages / across all regions / before the renewal date /
            using shared notes / on a quiet channel"""),
        _attributes("""response deadline minutes / churn share percent / risk score points /
            case volume files / rebate ceiling dollars / feedback sample forms /
            call duration seconds / upsell target buyers"""),
    ),
    "education": Vocabulary(
        "School Learning Journal",
        _phrases("""teachers / pupils / tutors / librarians / examiners / head teachers /
            apprentices / lecturers / parents / curriculum advisers"""),
        _phrases("read / discuss / grade / rehearse / present / revise / borrow / explain"),
        _phrases("""essays / laboratory notes / reading lists / fractions / grammar drills /
            history projects / homework folders / exam papers / vocabulary cards / timetables"""),
        _phrases("""during the spring term / in small groups / with peer feedback /
            after the assembly / at the reading corner / for the final portfolio /
            under quiet supervision / before the holidays"""),
        _attributes("""class size children / lesson length minutes / pass mark points /
            typing speed words / tuition grant dollars / coaching load hours /
            attendance floor percent / textbook allowance copies"""),
    ),
    "energy": Vocabulary(
        "Grid Operations Monthly",
        _phrases("""dispatchers / turbine technicians / network planners / meter readers /
            substation crews / battery operators / pipeline inspectors / solar installers /
            plant engineers / load forecasters"""),
        _phrases("balance / monitor / repair / switch / charge / curtail / calibrate / reroute"),
        _phrases("""feeders / transformers / wind turbines / storage banks / relays /
            smart meters / gas valves / inverters / overhead cables / cooling towers"""),
        _phrases("""during the evening peak / at reduced load / after a storm warning /
            through remote control / beside the coastal plant / with spare capacity /
            before winter maintenance / under dry conditions"""),
        _attributes("""ramp rate megawatts / reserve margin percent / outage limit minutes /
            feed tariff cents / discharge depth hours / bus voltage kilovolts /
            fuel stock tonnes / inspection gap weeks"""),
    ),
    "finance": Vocabulary(
        "Capital Markets Ledger",
        _phrases("""auditors / fund managers / treasurers / credit analysts / brokers /
            pension trustees / loan officers / actuaries / bookkeepers / underwriters"""),
        _phrases("hedge / reconcile / value / settle / refinance / disclose / impair / allocate"),
        _phrases("""bonds / receivables / mortgage pools / dividends / derivative positions /
            deposits / equity stakes / provisions / goodwill / cash balances"""),
        _phrases("""before the quarter closes / under stricter rules / for institutional holders /
            with daily marks / at amortised cost / after a rating change /
            across several currencies / on a pro rata basis"""),
        _attributes("""coupon rate percent / lease tenor years / fee cap dollars /
            margin call thousands / yield spread points / holding period days /
            subsidy floor euros / payout share cents"""),
    ),
    "healthcare": Vocabulary(
        "Hospital Clinic Chronicle",
        _phrases("""nurses / surgeons / midwives / pharmacists / ward clerks / radiologists /
            physiotherapists / dietitians / volunteers / paramedics"""),
        _phrases("observe / admit / vaccinate / discharge / monitor / transfer / bandage / advise"),
        _phrases("""patients / infusion pumps / wounds / blood samples / recovery beds /
            prescriptions / newborns / isolation rooms / care plans / allergies"""),
        _phrases("""during the night shift / after surgery / with written consent /
            at the outpatient desk / under sterile conditions / for elderly residents /
            before the ward round / in calm surroundings"""),
        _attributes("""dose interval hours / ambulance capacity seats / healing span days /
            triage delay minutes / syringe volume millilitres / relapse share percent /
            screening age years / staff ratio carers"""),
    ),
    "legal": Vocabulary(
        "Court Docket Record",
        _phrases("""judges / barristers / notaries / claimants / tenants / arbitrators /
            registrars / witnesses / compliance officers / trustees"""),
        _phrases("appeal / dispute / certify / waive / amend / enforce / register / dismiss"),
        _phrases("""leases / affidavits / patents / settlements / easements / warranties /
            injunctions / charters / copyright claims / debentures"""),
        _phrases("""in open session / under the older statute / without prejudice /
            by written notice / before the tribunal / after mediation /
            on procedural grounds / for want of evidence"""),
        _attributes("""filing deadline days / bail amount dollars / objection window weeks /
            jury size jurors / licence term years / damages cap thousands /
            probation period months / hearing length hours"""),
    ),
}

ADJECTIVES = tuple(
    """abundant adept agile airy alert ample ancient antique ardent artful astute attentive
    austere avid balmy bashful blissful bold boundless brave breezy bright brisk bubbly
    candid cordial carefree cautious cheerful chilly chirpy civil clever cosy courteous
    crafty crisp curious dainty dapper daring dazzling decisive devoted diligent distant
    dreamy drowsy dusty dutiful eager earnest elated elegant eloquent eminent enchanted
    eternal exotic fabled fabulous faithful famous fearless feisty festive fiery fluent
    fond foggy frosty frugal gallant generous genial gentle gleaming glorious graceful
    gracious grateful gritty hardy hasty hearty heroic hidden hollow honest humble idle
    immense inventive jaunty jolly jovial joyful keen kindly lavish legendary lively
    lofty lonely loyal lucid lucky luminous lyrical majestic mellow merry mighty misty
    modest mystic neat nimble noble observant opulent orderly pastoral peaceful pensive
    perky placid playful plucky polite prudent proud quaint quirky radiant rapid regal
    resilient restless robust rugged rustic sandy savvy serene shady sleepy sly snowy
    soaring solemn sprightly stately steadfast sturdy sunny supple swift sylvan tactful
    tender thrifty tranquil trusty valiant velvet vibrant vigilant wandering whimsical
    wise wistful witty young zealous zesty""".split()
)

NOUNS = tuple(
    """acorn albatross alder antelope anvil armadillo aspen badger bagpipe bamboo banjo
    barnacle beaver beech bison bluebell bobcat boulder bramble buffalo bumblebee buttercup
    cactus camel candle canyon caribou cello cheetah chipmunk cinnamon clarinet clover cobra
    condor coyote cricket crocodile crocus cuckoo cypress daffodil daisy dandelion dolphin
    donkey dragonfly eagle echidna elm ermine falcon fern ferret fiddle finch flamingo
    flute gazelle gecko geyser giraffe glacier goldfinch goose gopher gorilla grasshopper
    hamster harp hawthorn hazel hedgehog heron hippo hornet hyena ibex iguana jackal jaguar
    jasmine juniper kangaroo kestrel kingfisher koala lantern larch lemur leopard lighthouse
    lily lizard llama lobster lupin lynx magnolia magpie mandolin mango marigold marmot
    meerkat meteor mongoose moose muskrat narwhal nettle nightingale oboe ocelot octopus
    orchid osprey ostrich otter oyster panda panther parrot peacock pelican penguin petunia
    pheasant pigeon piranha platypus poppy porcupine puffin puma python quail rabbit raccoon
    rattlesnake raven reindeer rhino robin saxophone scorpion seahorse seagull sequoia
    shark skunk snowdrop sparrow squirrel starfish stork sunflower swallow swan sycamore
    tapir thistle tiger tortoise toucan trombone trumpet tulip turtle ukulele viola violin
    vulture wallaby walnut walrus weasel whale willow wolf wombat woodpecker xylophone yak
    yew zebra zinnia""".split()
)

# Rows of tables that nobody asks for.
PLACES = tuple(
    """Ashford Bristol Carlisle Dorset Exeter Falmouth Grantham Hereford Ipswich Kendal
    Lincoln Matlock""".split()
)
