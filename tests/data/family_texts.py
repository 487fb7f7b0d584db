"""The texts which every family of tiny models in ``tests/data/families`` embeds."""

from __future__ import annotations

FAMILY_TEXTS: tuple[str, ...] = (
    "hello world",
    "The cat sat on the mat.",
    "the cat sat on the mat.",
    "THE CAT SAT ON THE MAT.",
    "A man is playing a guitar on stage.",
    "How do I reset my password?",
    "query: what is the capital of France?",
    "a",
    "",
    "     ",
    "  leading and trailing spaces  \n",
    "line one\nline two\r\nline three\ttabbed",
    "[CLS] [SEP] [PAD] [MASK] [UNK]",
    "<s> </s> <pad> <mask> <unk>",
    "padding [PAD] in the <pad> middle of <pad><pad> a text",
    "no[PAD]space<pad>around[SEP]the</s>tokens",
    "Привет, мир! Кошка сидит на окне.",
    "你好,世界。猫坐在垫子上。",
    "مرحبا بالعالم و שלום עולם",
    "İstanbul'da ılık bir gün, ÉTÉ e\u0301te\u0301 STRAßE Ελλάς ΣΊΣΥΦΟΣ",
    "emoji \U0001f600 family \U0001f468\u200d\U0001f469\u200d\U0001f467 and zero\u200bwidth",
    "nul\x00byte, bell\x07, mark\ufeff and private \ue000",
    "def add(a, b):\n    return a + b  # sum of two numbers",
    '<p class="x">Text &amp; more</p> {"id": 1, "tags": ["a", "b"]}',
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
    "The dog chased the cat around the garden, and then the cat sat on the mat again. " * 2,
    "Photosynthesis converts light energy into chemical energy; water boils at sea level. " * 6,
)
