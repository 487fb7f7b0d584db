"""Any word of any indexed text, copied from it, finds its document."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Literal, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotstart.search.chunking import Chunk
from hotstart.search.lexical import LexicalIndex
from hotstart.search.store import Store, StoredDocument

# A text of each script or form; what stands between blanks and punctuation is a word of it.
SPACED = {
    "English": "The pool's models aren't evicted; e.g. don't re-load co-operative ones.",
    "German": "Die Straßen, Häuser und Größen: STRASSE, ÜBERMÄSSIG, Maßstäbe (Fußgänger).",
    "French": "L'élève a reçu «l'œuvre» où naïveté, Noël et ça vont; ÉLÉPHANT.",
    "Spanish": "¿Dónde está el pingüino? ¡Mañana, señor Núñez!",
    "Portuguese": "As ações são excelentes, coração não é maçã.",
    "Italian": "Perché l'università è così? Più città.",
    "Dutch": "De ĳsberg ligt in het IJsselmeer, 's-Gravenhage, reëel.",
    "Danish": "Æblegrød på Ærø, Århus og Øresund.",
    "Swedish": "Räksmörgås på Åland, ÖSTERSJÖN.",
    "Norwegian": "Blåbærsyltetøy i Tromsø.",
    "Finnish": "Hyvää yötä, Äänekoski; lentokonesuihkuturbiinimoottoriapumekaanikko.",
    "Hungarian": "Árvíztűrő tükörfúrógép, ŐRÜLT.",
    "Romanian": "Țara și șoseaua; Ţara cu sedilă, înțelegere.",
    "Turkish": "İstanbul'da ılık ISPARTA, IĞDIR, İZMİR, çiğ köfte, Şişli.",
    "Azerbaijani": "Əlifba, İçərişəhər və Gəncə.",
    "Polish": "Zażółć gęślą jaźń; ŁÓDŹ.",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Croatian": "Ǆep, ǅep i ǆep; Đuro, ĐAKOVO.",
    "Vietnamese": "Tiếng Việt: nguyễn, được, ĐƯỜNG phố, ngữ.",
    "Yoruba": "Ẹ̀kọ́ ọmọ Yorùbá, ṣé?",
    "Icelandic": "Þórður á Ísafirði, ÞAÐ.",
    "Irish": "Tá an tSúil ag Gaeilge, ṡliaḃ.",
    "Welsh": "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch, ŵyn.",
    "Greek": "Ο ΟΔΟΣ και η οδός: ΣΟΦΟΣ, Σ.Ε.Β., Ἀθῆναι, ᾠδή, ΆΝΘΡΩΠΟΣ, ΟΔΥΣΣΕΥΣ’.",
    "Russian": "Дома были проданы; ЁЛКА, ёлки, подъезд, Всё-таки.",
    "Ukrainian": "Її м'яч, ґанок, Київ і ЩЕДРІСТЬ.",
    "Serbian": "Љубав, Њива, Џеп, ЂУРЂЕВДАН.",
    "Bulgarian": "Ъгълът, ябълка, щастие.",
    "Old Slavonic": "Въ начѧлѣ бѣ слово, Ѳеѡдоръ.",
    "Armenian": "Հայերեն լեզու և գրականություն, ՀԱՅԱՍՏԱՆ, եւ.",
    "Georgian": "საქართველო, ენა; ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ და ႠႡႢ.",
    "Hebrew": "שלום עולם, צה״ל, ירושלים.",
    "Hebrew with points": "בְּרֵאשִׁית בָּרָא אֱלֹהִים, שָׁלוֹם, הַמַּ֣יִם.",
    "Yiddish": "ייִדיש איז אַ שפּראַך, װאָס.",
    "Arabic": "السلام عليكم، اللغة العربية؛ مكتبة إلى آخره، أولئك.",
    "Arabic with tashkeel": "ٱلْعَرَبِيَّةُ لُغَةٌ جَمِيلَةٌ، مُدَرِّسَـــةٌ، قُرْآن.",
    "Arabic presentation forms": "ﺍﻟﻌﺮﺑﻴﺔ ﻻﻡ ﷲ",
    "Persian": "می‌خواهم کتاب‌ها را بخوانم، پرنده، گچ، ۱۲۳۴.",
    "Urdu": "اُردو زبان، ٹوپی، ڈھول، بڑے لوگ، ہے۔",
    "Pashto": "پښتو ژبه، ښځه، ګل، ډېر.",
    "Syriac": "ܫܠܡܐ ܥܠܡܐ ܣܽܘܪܝܳܝܳܐ",
    "Thaana": "ދިވެހި ބަސް",
    "Devanagari": "हिन्दी में क्षत्रिय, ज्ञान और श्रीमान्; क़लम, १२३।",
    "Bengali": "বাংলা ভাষা, ক্ষমা, ঐক্য, দুঃখ।",
    "Gurmukhi": "ਪੰਜਾਬੀ ਭਾਸ਼ਾ, ਸ਼ੇਰ।",
    "Gujarati": "ગુજરાતી ભાષા, ક્ષમા.",
    "Odia": "ଓଡ଼ିଆ ଭାଷା, କ୍ଷମା।",
    "Tamil": "தமிழ் மொழி, ஸ்ரீ, கொடுத்தார்கள்.",
    "Telugu": "తెలుగు భాష, క్షమించు.",
    "Kannada": "ಕನ್ನಡ ಭಾಷೆ, ಕ್ಷಮೆ.",
    "Malayalam": "മലയാളം ഭാഷ, ക്ഷമ, അവൻ, അവന്‍.",
    "Sinhala": "සිංහල භාෂාව, ශ්‍රී ලංකා.",
    "Tibetan": "བོད་སྐད་ཡིག། བཀྲ་ཤིས།",
    "Ethiopic": "ሰላም ዓለም፣ አማርኛ።",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ",
    "Cherokee": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ꮳꮃꭹ",
    "Inuktitut": "ᐃᓄᒃᑎᑐᑦ ᓄᓇᕗᑦ",
    "Tifinagh": "ⵜⴰⵎⴰⵣⵉⵖⵜ ⵜⵓⵜⵍⴰⵢⵜ",
    "N'Ko": "ߒߞߏ ߞߊ߲",
    "Adlam": "𞤆𞤵𞤤𞤢𞤪 𞤨𞤵𞤤𞤢𞤪",
    "Deseret": "𐐔𐐯𐑅𐐨𐑉𐐯𐐻 𐐼𐐯𐑅",
    "Gothic": "𐌰𐍄𐍄𐌰 𐌿𐌽𐍃𐌰𐍂",
    "Cuneiform": "𒀀𒈾 𒁀𒉌",
    "Mathematical letters": "𝐛𝐨𝐥𝐝 𝒮𝒸𝓇𝒾𝓅𝓉 𝔉𝔯𝔞𝔨 ℝ ℕ ∑",
    "Full width": "Ｆｕｌｌ　ｗｉｄｔｈ　１２３",
    "Ligatures and fractions": "ﬁne ﬂow oﬃce ½ ¾ x² H₂O ™ № ℃ Ⅻ ⅷ ㎏",
    "Hyphens and joiners": "soft\u00adhyphen zero\u200bwidth non\u200cjoiner word\u2060joiner",
    "Marks on marks": "Z͑ͫ̓ͪ̂a̘̪l̬͜g͟o e\u0301te\u0301 A\u030angstro\u0308m q\u0307\u0323",
    "Emoji": "🎉 party 👩‍💻 code 👍🏽 ❤️ 🇩🇪 1️⃣ ☕ ✓",
    "Identifiers": "getModelName get_model_name HTTPServer MAX_WORDS __init__ IPv6Address",
    "Code": "std::vector<int> foo->bar $scope @decorator #define a.b.c() x86_64 --flag {key: 'v'}",
    "Digits and hashes": "3.14159 2026-11-28 0xDEADBEEF 9f86d081884c7d659a2feaa0c55ad015 v1.2.3",
    "Long words": "x" * 300 + " " + "a1" * 200 + " " + "é" * 255 + " " + "Ab" * 150,
    "Glued": "(one)[two]{three}<four>\"five\"'six'`seven`*eight*_nine_~ten~/eleven/|twelve|",
    "Addresses": "https://example.org/a/b?c=d#e mailto:me@a.org C:\\Users\\me /usr/lib/x.so.1",
    "Mixed": "Python入门 GPT模型2号 東京Tower тестTest Σigma_ß",
}  # fmt: skip
# Texts without spaces: what stands anywhere in them may be a word.
UNSPACED = {
    "Chinese": "这个连接池已经满了。数据库连接池的大小",
    "Traditional Chinese": "資料庫連線池已滿，請稍候再試",
    "Rare characters": "𠮷野家𡈽",
    "Japanese": "接続プールがいっぱいです。データベースのﾌﾟｰﾙ々",
    "Korean": "데이터베이스에서 연결풀이 가득 찼습니다",
    "Thai": "ภาษาไทยไม่มีช่องว่างระหว่างคำน้ำ",
    "Lao": "ພາສາລາວບໍ່ມີຊ່ອງຫວ່າງນ້ຳ",
    "Khmer": "ភាសាខ្មែរគ្មានចន្លោះ",
    "Burmese": "မြန်မာဘာသာစကားတွင်",
    "Javanese": "ꦲꦏ꧀ꦱꦫꦗꦮ",
    "Balinese": "ᬅᬓ᭄ᬱᬭᬩᬮᬶ",
    "Tai Tham": "ᨲᩫ᩠ᩅᨾᩮᩬᩥᨦ",
    "New Tai Lue": "ᦅᧄᦺᦑᦟᦹᧉ",
    "Yi": "ꆈꌠꁱꂷ",
    "Bopomofo": "ㄅㄆㄇㄈ",
}
Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
FORMS: tuple[Form, ...] = get_args(Form)


@pytest.fixture(scope="module")
def lexical(tmp_path_factory: pytest.TempPathFactory) -> LexicalIndex:
    """An index with each text in each form, beside all others."""
    home = tmp_path_factory.mktemp("index")
    lexical = LexicalIndex(str(home / "lexical"))
    with Store(str(home / "index.db")) as store:
        for form in FORMS:
            for name, text in (SPACED | UNSPACED).items():
                with store.transaction():
                    chunk = Chunk(unicodedata.normalize(form, text), "", 1, 1)
                    store.put(f"{form}/{name}", StoredDocument(0, 0, ""), [chunk])
        lexical.sync(store)
    return lexical


def document(form: Form, name: str) -> int:
    names = list(SPACED | UNSPACED)
    return 1 + FORMS.index(form) * len(names) + names.index(name)


def lost(lexical: LexicalIndex, form: Form, name: str, words: list[str]) -> list[str]:
    """Return those of `words` that do not find the text `name`."""
    wanted = document(form, name)
    return [
        word for word in words if wanted not in {match.id for match in lexical.search(word, 1000)}
    ]


def is_word(text: str) -> bool:
    return any(unicodedata.category(each)[0] in "LN" for each in text)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SPACED)
def test_words_between_blanks_are_found(lexical: LexicalIndex, form: Form, name: str) -> None:
    text = unicodedata.normalize(form, SPACED[name])
    glued = text.split()
    marks = "".join({each for each in text if unicodedata.category(each)[0] == "M"})
    alone = re.findall(rf"\w[\w{marks}]*", text)
    words = [word for word in [*glued, *alone] if is_word(word)]
    assert words
    assert lost(lexical, form, name, words) == []


@pytest.mark.parametrize("name", SPACED)
def test_words_are_found_in_another_form_and_case(lexical: LexicalIndex, name: str) -> None:
    words = [word for word in SPACED[name].split() if is_word(word)]
    for form in FORMS:
        other = [unicodedata.normalize(form, word) for word in words]
        assert lost(lexical, "NFC", name, other) == []
    # The capital of a Turkish dotless i is that of an i with a dot elsewhere.
    capitals = [word.upper() for word in words if "ı" not in word]
    assert lost(lexical, "NFC", name, capitals) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", UNSPACED)
def test_any_part_of_a_text_without_spaces_is_found(
    lexical: LexicalIndex, form: Form, name: str
) -> None:
    text = unicodedata.normalize("NFKC", UNSPACED[name])
    starts = [n for n, each in enumerate(text) if unicodedata.category(each)[0] != "M"]
    ends = [*starts[1:], len(text)]
    found = (text[start:end] for n, start in enumerate(starts) for end in ends[n : n + 5])
    parts = [unicodedata.normalize(form, part) for part in found if is_word(part)]
    assert parts
    assert lost(lexical, form, name, parts) == []


@pytest.mark.parametrize("emoji", ["🎉", "👩‍💻", "👍🏽", "❤️", "🇩🇪", "☕", "✓"])
def test_an_emoji_is_a_word(lexical: LexicalIndex, emoji: str) -> None:
    assert lost(lexical, "NFC", "Emoji", [emoji]) == []


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("strasse", "German"),
        ("istanbul", "Turkish"),
        ("οδος", "Greek"),
        ("العربية", "Arabic with tashkeel"),
        ("مدرسة", "Arabic with tashkeel"),
        ("שלום", "Hebrew with points"),
        ("Python", "Mixed"),
        ("模型", "Mixed"),
        ("연결", "Korean"),
        ("ไทย", "Thai"),
    ],
)
def test_a_word_is_found_as_people_type_it(lexical: LexicalIndex, word: str, name: str) -> None:
    assert lost(lexical, "NFC", name, [word]) == []


LETTERS = st.characters(categories=["L", "M", "N"])
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=8)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(words=WORDS, between=st.sampled_from([" ", ", ", "\n", "; ", ") ("]))
def test_any_word_of_any_text_is_found(
    words: list[str], between: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("any")
    with Store(str(folder / "index.db")) as store:
        with store.transaction():
            store.put("a.txt", StoredDocument(0, 0, ""), [Chunk(between.join(words), "", 1, 1)])
        lexical = LexicalIndex(str(folder / "lexical"))
        lexical.sync(store)
    for word in words:
        if unicodedata.category(word[0])[0] != "M" and word.isalnum():
            assert lexical.search(word, 9), word
