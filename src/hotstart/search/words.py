"""The words of texts and queries: identifiers, stop words, languages.

Query and index share these rules, so that a word copied from a text is found.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from itertools import pairwise

MOST_WORDS = 128
"""Words of a query that count, stop words aside; a longer query is cut."""

DEFAULT_LANGUAGE = "english"

_STOP_WORDS = {
    "english": (
        "a about after all also am an and any are as at be because been before being between both"
        " but by can cannot could did do does doing done during each few for from further had has"
        " have having he her here him his how i if in into is it its just let may me might more"
        " most must my no nor not of off on once only or other our out over own same shall she"
        " should so some such than that the their them then there these they this those through to"
        " too under until up upon very was we were what when where whether which while who whom"
        " whose why will with would you your"
    ),
    "danish": (
        "og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om"
        " vi min havde ham hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal"
        " selv her alle vil blev kunne ind når være dog noget ville jo deres efter ned skulle denne"
        " end dette mit også under have dig anden hende mine alt meget sit sine vor mod disse hvis"
        " din nogle hos blive mange ad bliver hendes været thi jer sådan"
    ),
    "dutch": (
        "de en van ik te dat die in een hij het niet zijn is was op aan met als voor had er maar om"
        " hem dan zou of wat mijn men dit zo door over ze zich bij ook tot je mij uit der daar haar"
        " naar heb hoe heeft hebben deze u want nog zal me zij nu ge geen omdat iets worden toch al"
        " waren veel meer doen toen moet ben zonder kan hun dus alles onder ja eens hier wie werd"
        " altijd doch wordt wezen kunnen ons zelf tegen na reeds wil kon niets uw iemand geweest"
        " andere"
    ),
    "finnish": (
        "ja on ei se että hän oli en ovat olla mutta kun joka mitä niin kuin tämä jos myös nyt sen"
        " hänen minä sinä me te he ne ole olisi sitä siitä tai vain mikä missä jotka joita jonka"
        " sekä mukaan kanssa tätä tämän niitä niiden ollut eivät ettei sillä koska vaan"
    ),
    "french": (
        "au aux avec ce ces dans de des du elle en et eux il ils je la le les leur lui ma mais me"
        " même mes moi mon ne nos notre nous on ou où par pas pour qu que qui sa se ses son sur ta"
        " te tes toi ton tu un une vos votre vous c d j l à m n s t y été étée étés étant suis es"
        " est sommes êtes sont serai sera serait étais était étaient fut ont avait avaient avoir"
        " être cette cet comme si plus quel quelle quels quelles quoi quand comment pourquoi dont"
    ),
    "german": (
        "aber alle allem allen aller alles als also am an ander andere anderen auch auf aus bei bin"
        " bis bist da damit dann das dass daß dein deine dem den denn der des die dies diese diesem"
        " diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es etwas euch"
        " euer für gegen habe haben hat hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre"
        " ihrem ihren ihrer im in indem ins ist jede jedem jeden jeder jetzt kann kein keine keinen"
        " können man mein meine mich mir mit muss musste nach nicht nichts noch nun nur ob oder"
        " ohne sehr sein seine seinem seinen seiner sich sie sind so solche soll sollte sondern"
        " sonst über um und uns unser unter viel vom von vor während war waren warum was weil"
        " welche welchem welchen welcher wenn wer werde werden wie wieder will wir wird wo wollen"
        " wurde wurden würde zu zum zur zwar zwischen"
    ),
    "hungarian": (
        "a az és hogy nem is egy ez azt meg el ki csak de volt már még mint van ha vagy ezt itt ott"
        " fel le be sem én te ő mi ti ők nagyon minden aki ami amely amelyek azok ezek akkor ahol"
        " kell lesz lehet után által között mert így úgy pedig majd most ilyen olyan hogyan miért"
    ),
    "italian": (
        "ad al allo ai agli alla alle con col da dal dallo dai dagli dalla dalle di del dello dei"
        " degli della delle in nel nello nei negli nella nelle su sul sullo sui sugli sulla sulle"
        " per tra contro io tu lui lei noi voi loro mio mia tuo tua suo sua nostro vostro che chi"
        " cui il lo la i gli le un uno una ma ed se perché anche come dov dove non più quale quanto"
        " quello questa questo questi queste si tutto tutti a c e l o ho ha hanno era erano essere"
        " è sono sia fu stato quando cosa"
    ),
    "norwegian": (
        "og i jeg det at en et den til er som på de med han av ikke der så var meg seg men ett har"
        " om vi min mitt ha hadde hun nå over da ved fra du ut sin dem oss opp man kan hans hvor"
        " eller hva skal selv sjøl her alle vil bli ble blei blitt kunne inn når være kom noen noe"
        " ville dere deres kun ja etter ned skulle denne for deg si sine sitt mot å meget hvorfor"
        " dette disse uten hvordan ingen din ditt blir samme hvilken hvilke sånn inni mellom vår"
        " hver hvem vors hvis både bare enn fordi før mange også slik vært"
    ),
    "portuguese": (
        "de a o que e do da em um para com não uma os no se na por mais as dos como mas ao ele das"
        " à seu sua ou quando muito nos já eu também só pelo pela até isso ela entre depois sem"
        " mesmo aos seus quem nas me esse eles você essa num nem suas meu às minha numa pelos elas"
        " qual nós lhe deles essas esses pelas este dele tu te vocês foi era são ser está estão"
        " tem têm havia onde porque"
    ),
    "romanian": (
        "a acea această aceasta aceste acest acestui al ale am ar are as au avea ca că cât ce cei"
        " cel cea cele cine cu cum da dar de deci despre din după ea ei el ele era este eu face fi"
        " fost iar în îl îi îşi își la le lor lui mai ne nici noi nu o pe pentru prin sa să sau se"
        " și şi sunt te toate tot un una unei unor unui va vor"
    ),
    "spanish": (
        "de la que el en y a los del se las por un para con no una su al lo como más pero sus le ya"
        " o este sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde"
        " todo nos durante todos uno les ni contra otros ese eso ante ellos e esto mí antes algunos"
        " qué unos yo otro otras otra él tanto esa estos mucho quienes nada muchos cual poco ella"
        " estar estas algunas algo nosotros mi mis tú te ti tu tus es son fue era ser está están"
        " cómo dónde cuál"
    ),
    "swedish": (
        "och det att i en jag hon som han på den med var sig för så till är men ett om hade de av"
        " icke mig du henne då sin nu har inte hans honom skulle hennes där min man ej vid kunde"
        " något från ut när efter upp vi dem vara vad över än dig kan sina här ha mot alla under"
        " någon eller allt mycket sedan ju denna själv detta åt utan varit hur ingen mitt ni bli"
        " blev oss din dessa några deras blir mina samma vilken er sådan vår blivit dess inom"
        " mellan sådant varför varje vilka ditt vem vilket"
    ),
    "turkish": (
        "ve bir bu da de için ile mi mı mu mü ne o ki çok daha gibi kadar olan olarak sonra var ya"
        " ama veya değil en her şey ben sen biz siz onlar bunu bunun şu ise çünkü nasıl neden niçin"
        " diye hem hiç göre üzerinde tarafından oldu olduğu"
    ),
    "russian": (
        "и в во не что он на я с со как а то все она так его но да ты к у же вы за бы по только ее"
        " её мне было вот от меня еще ещё нет о об из ему теперь когда даже ну вдруг ли если уже"
        " или ни быть был него до вас нибудь опять уж вам ведь там потом себя ничего ей может они"
        " тут где есть надо ней для мы тебя их чем была сам чтоб без будто чего раз тоже себе под"
        " будет ж тогда кто этот того потому этого какой каким какая какие какую каких какого"
        " каком какому совсем ним здесь этом один почти мой тем чтобы нее неё сейчас были куда"
        " зачем всех никогда можно при наконец два об другой хоть после над больше тот через эти"
        " нас про всего них много разве три эту моя впрочем хорошо свою этой перед иногда лучше"
        " чуть том нельзя такой им более всегда конечно всю между это почему сколько который"
        " которая которое которые которых которой которого котором которому которым которую"
    ),
    "greek": (
        "ο η το οι τα του της των τον την και κι κ ειμαι εισαι ειναι είναι να θα για από απο με σε"
        " στο στη στην στον στα στις στους που πού πως πώς δεν μη μην ότι οτι αυτό αυτά αυτή αυτός"
        " ένα ένας μια μία αν ή αλλά ως τι ποιος ποια ποιο όπως ήταν έχει έχουν κατά μετά"
    ),
    "arabic": (
        "في من على إلى الى عن مع هذا هذه ذلك تلك التي الذي الذين هو هي هم كان كانت ما لا لم لن إن"
        " أن ان أو او ثم قد كل بعد قبل بين حتى إذا اذا كما لكن منذ عند غير هل متى أين كيف لماذا و"
    ),
    "tamil": "ஒரு என்று மற்றும் இந்த இது என்ற கொண்டு என்பது பல அந்த அது இல்லை உள்ள தான் எந்த எப்படி என்ன",
}

LANGUAGES = tuple(_STOP_WORDS)
"""The languages with a stemmer, by the names of Snowball."""

SCRIPTS = {
    "russian": re.compile("[\u0400-\u04ff]"),
    "greek": re.compile("[\u0370-\u03ff\u1f00-\u1fff]"),
    "arabic": re.compile("[\u0600-\u06ff]"),
    "tamil": re.compile("[\u0b80-\u0bff]"),
}
"""The languages that the script of a word tells; the others share the Latin script."""

_LETTERS = re.compile(r"[^\W_]+")
_NAME = re.compile(r"\w+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_READ = 4000  # characters from which the language is told
_CLEAR = 1.5  # times the stop words of English
_JOINER = re.compile("[\u00ad\u180e\u200b-\u200d\u2060\ufeff]")  # not seen, within words
_IGNORED = re.compile(
    # What is not seen: marks of direction, variants, tags.
    "[\u061c\u180b-\u180d\u200e\u200f\u202a-\u202e\u2061-\u2069\ufe00-\ufe0f\U000e0000-\U000e0fff"
    # What few people type: Arabic vowels and tatweel, Hebrew points.
    "\u0610-\u061a\u0640\u064b-\u0652\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]"
)
_UNSPACED = (
    # Thai, Lao, Burmese, Khmer
    "\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"
    # the scripts of Tai, Balinese and Javanese
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf\u1b00-\u1b7f\ua980-\ua9df"
    # Chinese, Japanese, Yi
    "\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\ua48f\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
    # Korean, which has spaces, and particles at its words
    "\uac00-\ud7a3"
)
_RUN = re.compile(f"[{_UNSPACED}]+")
_EMOJI = "[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]"


def normalized(text: str) -> str:
    """Return `text` in the form that is indexed: compatibility forms and marks composed.

    Without characters that are not seen or that few people type.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _IGNORED.sub("", unicodedata.normalize("NFKC", text)))


def folded(text: str) -> str:
    """Return a normalized text without the difference of case: `Straße` and `STRASSE` are one."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", _JOINER.sub("", text).casefold())
    # The dot of a Turkish capital I is a mark of its own in lower case, and an alef has many forms.
    return text.replace("i\u0307", "i").replace("\u0671", "\u0627")


def words_of(text: str) -> list[str]:
    """Return the folded words of a normalized text, but those of `pairs_of`, and each emoji."""
    return spellings_of(folded(text))


def spellings_of(text: str) -> list[str]:
    """Return the words of a normalized text as they are written there."""
    if text.isascii():
        return _LETTERS.findall(text)
    return _pattern_of(text).findall(text)


def sequence_of(text: str) -> str:
    """Return the folded words of `text` in order, and each character of scripts without spaces.

    There is a blank before and behind each, so that a phrase is a part of it.
    """
    text = folded(normalized(text))
    if not text.isascii():
        text = _RUN.sub(lambda run: f" {' '.join(run[0])} ", text)
    words = spellings_of(text) if text.isascii() else _pattern_of(text, _RUN.pattern).findall(text)
    return f" {' '.join(words)} "


def spans_of(text: str) -> list[tuple[int, int]]:
    """Return start and end of each word of `text`, as it is written, and of each pair of it."""
    spans = []
    for word in _pattern_of(text, _RUN.pattern).finditer(text):
        start, end = word.span()
        if end - start > 2 and _RUN.fullmatch(word[0]):
            spans += [(at, at + 2) for at in range(start, end - 1)]
        else:
            spans.append((start, end))
    return spans


def _pattern_of(text: str, *more: str) -> re.Pattern[str]:
    marks = {each for each in set(text) if unicodedata.category(each).startswith("M")}
    return _letters_with("".join(sorted(marks)), *more)


@functools.lru_cache
def _letters_with(marks: str, *others: str) -> re.Pattern[str]:
    """Return the pattern of a word; Python counts no mark as a part of words, not even vowels."""
    letter = rf"[^\W_{_UNSPACED}]"
    more = rf"(?:{letter}|[{marks}])*" if marks else rf"{letter}*"
    return re.compile("|".join([f"{letter}{more}", _EMOJI, *others]))


_LISTS = {
    language: frozenset(map(folded, words.split())) for language, words in _STOP_WORDS.items()
}
_SCRIPTED = frozenset[str]().union(*(_LISTS[language] for language in SCRIPTS))
_LATIN: dict[str, list[str]] = {}
for _language, _list in _STOP_WORDS.items():
    # Neither single letters nor words that are frequent in source code tell a language.
    for _word in set(_list.split()).difference(["var", "end", "min", "as", "do", "no"]):
        if _language not in SCRIPTS and len(_word) > 1:
            _LATIN.setdefault(_word, []).append(_language)


def language_of(text: str, least: int = 3) -> str:
    """Return the language of the Latin words of `text`: that of which it holds most stop words.

    English where no language has `least` of them and clearly more than English: source code holds a
    few by chance, and a stem of another language is rare and so would weigh much.
    """
    counts: Counter[str] = Counter()
    for word in set(_LETTERS.findall(text[:_READ].lower())):
        counts.update(_LATIN.get(word, ()))
    best = max(counts, key=lambda language: (counts[language], language), default=DEFAULT_LANGUAGE)
    is_clear = counts[best] >= max(least, _CLEAR * counts[DEFAULT_LANGUAGE])
    return best if is_clear else DEFAULT_LANGUAGE


def is_stop_word(word: str, language: str) -> bool:
    """Return whether `word`, in lower case, says nothing in a query in `language`."""
    return word in _LISTS[language] or word in _SCRIPTED


def parts_of(name: str) -> list[str]:
    """Return the parts of an identifier in lower case.

    `getModelName` and `get_model_name` give get, model, name; `HTTPServer` gives http, server.
    """
    return [part for word in name.split("_") if word for part in _humps(word)]


def _humps(word: str) -> list[str]:
    """Return the folded parts of a word in camel case."""
    if word.islower() or word.isupper():
        return [folded(word)]
    if word.isascii():
        return [part.lower() for part in _PART.findall(word)]
    starts = [0]
    for place in range(1, len(word)):
        if word[place].isupper() and word[place - 1].islower():
            starts.append(place)
    return [folded(word[start:end]) for start, end in pairwise([*starts, len(word)])]


def joined(name: str) -> str:
    """Return an identifier as one word, whichever way its parts are joined."""
    return folded(name.replace("_", ""))


def compounds_of(text: str) -> list[str]:
    """Return what the plain words of `text` lack: parts and wholes of its compound identifiers.

    `getModelName` is the word getmodelname and lacks get, model, name; `get_model_name` is the
    words get, model, name and lacks getmodelname. Joiners that are not seen make compounds too.
    """
    lacking: dict[str, None] = {}
    if not text.isascii():
        glued = (name for name in text.split() if _JOINER.search(name))
        lacking.update(dict.fromkeys(_JOINER.sub(" ", " ".join(glued)).split()))
    for name in dict.fromkeys(_NAME.findall(text)):
        if "_" in name:
            if name.strip("_").count("_"):
                lacking[joined(name)] = None
        elif name.islower() or name.isupper():
            continue
        parts = [part for word in name.split("_") if len(_humps(word)) > 1 for part in _humps(word)]
        lacking.update(dict.fromkeys(parts))
    return list(lacking)


def replaced(text: str, word: str, other: str) -> str:
    """Return `text` with `other` in the place of a folded word of it, or behind it."""
    changed = re.sub(re.escape(word), lambda _: other, text, flags=re.IGNORECASE)
    return f"{text} {other}" if changed == text else changed


_LEAST = 4  # letters of words that are compared
_LONG = 6  # letters of a word in which another letter is rather a slip than another word


def is_near(one: str, other: str, *, strict: bool = False) -> bool:
    """Return whether two words differ by one letter, or by two that changed places.

    If `strict`, they begin with the same letter, and a letter stands for another in long words
    alone: `night`, `right` and `knight` are three words.
    """
    one, other = sorted((one, other), key=len, reverse=True)
    if len(one) - len(other) > 1 or one == other or len(other) < _LEAST:
        return False
    pairs = enumerate(zip(one, other, strict=False))
    at = next((n for n, (a, b) in pairs if a != b), len(other))
    if one[at + 1 : at + 2] + one[at : at + 1] + one[at + 2 :] == other[at:]:
        return True
    if len(one) > len(other):
        return one[at + 1 :] == other[at:] and not (strict and at == 0)
    is_other_word = strict and (at == 0 or len(one) < _LONG)
    return one[at + 1 :] == other[at + 1 :] and not is_other_word


def pairs_of(text: str) -> list[str]:
    """Return the pairs of neighbours in scripts without spaces between words, as Chinese or Thai.

    A character that stands alone is one by itself.
    """
    if text.isascii():
        return []
    found = []
    for run in _RUN.findall(folded(text)):
        found += [run[at : at + 2] for at in range(len(run) - 1)] or [run]
    return found


def characters_of(text: str) -> list[str]:
    """Return the characters of the runs of `pairs_of`, so that a word of one letter is found."""
    if text.isascii():
        return []
    return [each for run in _RUN.findall(folded(text)) if len(run) > 1 for each in run]


def all_query_words(query: str) -> list[str]:
    """Return the folded words of `query` in order, and what compounds and pairs add.

    Without stop words, unless it has no other words.
    """
    query = normalized(query)
    words = words_of(query)
    language = language_of(query, least=2)
    telling = [word for word in words if not is_stop_word(word, language)]
    compounds = words_of(" ".join(compounds_of(query)))
    return [*(telling or words), *compounds, *pairs_of(query)]


def query_words(query: str) -> list[str]:
    """Return those of `all_query_words` that count: the first ones."""
    return all_query_words(query)[:MOST_WORDS]
