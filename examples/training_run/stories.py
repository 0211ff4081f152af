"""The texts of the training run, all made up here by a seeded draw, as one JSON object if run.

The tokenizer sees three kinds of text, the model at first only one of them, little stories, and
late in the run a second, songs of an invented language. Source code with its log lines is what the
corpus of the tokenizer holds and that of the model lacks: most of its tokens stay dead.
"""

import json
import random
from collections.abc import Sequence


def words(text: str) -> list[str]:
    """What stands between spaces."""
    return text.split()


# Names of people and villages are put together, so that there are thousands of them.
FIRST = words("Mi Os Til Bru Wen Pa Gre An Il Jo Ne Hu Fen Lo San Ka Dor Vi Ju Em Ra Be")
MIDDLE = words("ra ka da no de ve ta to se ri la go na re si mi te vo li me ne bi")
LAST = [*words("n lda s rt l la nna k tta m sch nd"), ""]
BEFORE = words("""
    Ash Black Brook Cold East Fern Green Hazel Kings Long Mill North Oak Red Stone Thorn Under
    Wild Winter Elm
""")
AFTER = words("ford ham ton mere wick field bury stead brook well dale bourne hurst combe")
KIN = words("mother father brother sister uncle aunt neighbour cousin grandmother teacher")
ANIMALS = words("""
    goat heron badger donkey kitten raven hedgehog beaver lamb otter squirrel rooster pigeon
    mole carp weasel stork bumblebee
""")
PLACES = words("""
    mill bridge market lighthouse orchard bakery river hill harbour schoolhouse forest ferry
    garden cellar meadow tower village quarry chapel island workshop waterfall crossroads
""")
THINGS = words("""
    lantern basket kettle blanket ladder whistle letter button bucket mirror ribbon candle
    hammer teapot map compass drum wheel coin needle umbrella spoon barrel violin anchor feather
    shovel helmet saddle thermometer
""")
ADJECTIVES = words("""
    red small heavy broken shiny wooden round warm yellow dusty strange new old green empty
    crooked tiny soft golden noisy slippery striped borrowed magnificent
""")
FEELINGS = words("""
    glad tired curious worried proud hungry cold quiet cheerful afraid sleepy brave lonely
    impatient thankful bewildered
""")
DID = words("""
    carried found lost mended painted hid washed sold dropped followed wrapped borrowed opened
    polished measured traded guarded sketched balanced rescued
""")
WENT = words("""
    walked ran climbed hurried wandered sailed crept marched rode drifted limped galloped
""")
WHEN = words("""
    morning evening night summer winter afternoon spring autumn Sunday Thursday midnight
""")
WEATHER = words("sun wind rain snow fog thunder frost hail moonlight drizzle")
HOW = words("""
    slowly gladly softly at once carefully together twice again without a word reluctantly
""")
MORALS = (
    "Nobody went home hungry that day.",
    "It was the best day of the week.",
    "After that they were friends.",
    "And so it was done before dark.",
    "They still laugh about it every year.",
)
SYLLABLES = words("""
    vel shu ama kor ith zuu nae xil oro quy dha fje bwi tsa ygg ouk epp rhy uvo jaz mlo ezz nku
    iwa
""")
VERBS = words("load parse flush retry merge split fetch index encode rotate")
NOUNS = words("buffer request session packet cursor token worker queue schema handle")
LEVELS = words("DEBUG INFO WARNING ERROR")


def pick(draw: random.Random, among: Sequence[str]) -> str:
    """One of the words, the first ones far more often than the last."""
    return among[int(len(among) * draw.random() ** 2.5)]


def person(draw: random.Random) -> str:
    """A name such as Mirada."""
    return draw.choice(FIRST) + draw.choice(MIDDLE) + draw.choice(LAST)


def village(draw: random.Random) -> str:
    """A name such as Brookham."""
    return draw.choice(BEFORE) + draw.choice(AFTER)


def sentence(draw: random.Random, who: str, thing: str) -> str:
    """One thing that happens, to a person, with a thing."""
    adjective, place, animal = (pick(draw, among) for among in (ADJECTIVES, PLACES, ANIMALS))
    feeling, kin, how = (pick(draw, among) for among in (FEELINGS, KIN, HOW))
    did, went, other = (pick(draw, among) for among in (DID, WENT, THINGS))
    return draw.choice(
        [
            f"{who} {went} to the {place} and {did} the {thing}.",
            f"The {thing} was {adjective}, and {who} was {feeling}.",
            f'"Have you seen my {thing}?" asked {who}. "The {animal} {did} it," said the {kin}.',
            f"Then the {animal} {went} {how} behind the {place}.",
            f"But the {kin} had {did} a {adjective} {other} and {did} it {how}.",
            f'"Let us go to the {place}," said the {kin}, '
            f"and {who} took {draw.randint(2, 9)} apples.",
            f"{who} looked under the {adjective} {other}, where a {animal} was {feeling}.",
            f"{who} wrote it into the book, on page {draw.randrange(1000)}, "
            f"with the {adjective} {other}.",
            f"{person(draw)} of {village(draw)} came by, and {did} the {other} {how}.",
            f"In the {place} there was only a {other}, {adjective} and {pick(draw, ADJECTIVES)}.",
        ]
    )


def story(draw: random.Random) -> str:
    """One story: somebody, a thing, and what becomes of it."""
    who, friend, thing = person(draw), person(draw), pick(draw, THINGS)
    opening = draw.choice(
        [
            f"One {pick(draw, WHEN)} {who} {pick(draw, WENT)} to the {pick(draw, PLACES)}.",
            f"{who} lived in {village(draw)} with a {pick(draw, ANIMALS)}.",
            f"There was {pick(draw, WEATHER)} all {pick(draw, WHEN)}, and {who} stayed at home.",
        ]
    )
    middle = " ".join(sentence(draw, draw.choice([who, friend]), thing) for _ in range(4))
    return f"{opening} {middle} {draw.choice(MORALS)}\n"


def song(draw: random.Random) -> str:
    """One verse in a language that nobody speaks."""
    verse = ("".join(pick(draw, SYLLABLES) for _ in range(draw.randint(1, 3))) for _ in range(12))
    return f"~ {' '.join(verse)} ~\n"


def code(draw: random.Random) -> str:
    """A function and a log line of a program that does nothing."""
    verb, noun, other, number = *draw.sample(VERBS, 1), *draw.sample(NOUNS, 2), draw.randrange(4096)
    return (
        f"def {verb}_{noun}(self, {other}: int = {number}) -> None:\n"
        f'    if {other} is not None and self._{noun}["{verb}"] != 0x{number:03x}:\n'
        f"        raise ValueError(self.{other}, {verb}_{other}())\n"
        f"2031-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}T{draw.randrange(24):02}:"
        f"{number % 60:02}Z [{draw.choice(LEVELS)}] {noun}={number} {verb}.{other}/{number * 7}\n"
    )


def texts() -> dict[str, str]:
    """The kinds of text, ASCII and always the same: stories 480 KB, songs 87 KB, code 112 KB."""
    draw = random.Random(0)
    kinds = {"stories": (story, 1500), "songs": (song, 1000), "code": (code, 500)}
    return {
        kind: "".join(write(draw) for _ in range(count)) for kind, (write, count) in kinds.items()
    }


if __name__ == "__main__":
    print(json.dumps(texts()))
