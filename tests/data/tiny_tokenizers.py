"""Tiny fast tokenizers, one for each kind that the families of embedding models use.

A small vocabulary is counted from the texts and given to the tokenizer class of transformers, so
that special tokens, normalisation and ``tokenizer.json`` are what a real model of that family has.
Only the byte-level BPE is trained by ``tokenizers``: its trainers for WordPiece and Unigram break
ties differently from run to run.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from family_texts import FAMILY_TEXTS
from golden_texts import SHORT
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertTokenizer,
    CamembertTokenizer,
    DistilBertTokenizer,
    MPNetTokenizer,
    PreTrainedTokenizerBase,
    Qwen2Tokenizer,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

CORPUS: tuple[str, ...] = FAMILY_TEXTS + SHORT
CHARACTERS = 50
LONGEST_PIECE = 6

BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MPNET_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "[UNK]")
ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
CAMEMBERT_SPECIALS = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>")


def words_of(pre_tokenizer: pre_tokenizers.PreTokenizer, texts: Iterable[str]) -> list[str]:
    """The words which a pre-tokenizer makes of ``texts``."""
    return [word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(text)]


def common_pieces(words: Iterable[str], size: int, inner: str = "") -> list[tuple[str, int]]:
    """The commonest characters and the heaviest longer pieces, with their counts, ``size`` in all.

    A piece which does not begin a word carries the prefix ``inner``.
    """
    counts: Counter[str] = Counter()
    for word in words:
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + LONGEST_PIECE) + 1):
                counts[inner * (start > 0) + word[start:end]] += 1
    characters = Counter({p: n for p, n in counts.items() if len(p.removeprefix(inner)) == 1})
    chosen = sorted(characters.items(), key=lambda item: (-item[1], item[0]))
    chosen = chosen[: CHARACTERS * (2 if inner else 1)]
    longer = ((p, n) for p, n in counts.items() if p not in characters)
    heaviest = sorted(longer, key=lambda item: (-item[1] * len(item[0]), item[0]))
    return chosen + heaviest[: size - len(chosen)]


def wordpiece(specials: Sequence[str], *, lowercase: bool, size: int = 160) -> dict[str, int]:
    """A WordPiece vocabulary, as of BERT."""
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    texts = map(normalizer.normalize_str, CORPUS)
    words = words_of(pre_tokenizers.BertPreTokenizer(), texts)
    pieces = [piece for piece, _ in common_pieces(words, size, inner="##")]
    return {token: index for index, token in enumerate((*specials, *pieces))}


def unigram(specials: Sequence[str], size: int = 170) -> list[tuple[str, float]]:
    """A Unigram vocabulary with log-likelihoods, as SentencePiece makes it for XLM-R."""
    split = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    pieces = common_pieces(words_of(split, CORPUS), size)
    total = sum(count for _, count in pieces)
    scores = [(piece, round(math.log(count / total), 4)) for piece, count in pieces]
    return [*((special, 0.0) for special in specials), *scores, ("<mask>", 0.0)]


def bert(*, lowercase: bool = True) -> PreTrainedTokenizerBase:
    """BERT: WordPiece, ``[CLS] ... [SEP]``."""
    vocab = wordpiece(BERT_SPECIALS, lowercase=lowercase)
    return BertTokenizer(vocab=vocab, do_lower_case=lowercase)


def bert_cased() -> PreTrainedTokenizerBase:
    """BERT that keeps case and accents."""
    return bert(lowercase=False)


def yes_no() -> PreTrainedTokenizerBase:
    """BERT with the tokens by which a language model scores a pair."""
    vocab = wordpiece(BERT_SPECIALS, lowercase=True)
    vocab |= {token: len(vocab) + n for n, token in enumerate(("yes", "no"))}
    return BertTokenizer(vocab=vocab, do_lower_case=True)


def distilbert() -> PreTrainedTokenizerBase:
    """DistilBERT: as BERT, without token types."""
    vocab = wordpiece(BERT_SPECIALS, lowercase=True)
    return DistilBertTokenizer(vocab=vocab, do_lower_case=True)


def mpnet() -> PreTrainedTokenizerBase:
    """MPNet: WordPiece with the special tokens of RoBERTa."""
    vocab = wordpiece(MPNET_SPECIALS, lowercase=True)
    return MPNetTokenizer(vocab=vocab | {"<mask>": len(vocab)}, do_lower_case=True)


def byte_level(specials: Sequence[str]) -> tuple[dict[str, int], list[Any]]:
    """A vocabulary of byte-level BPE and its merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=list(specials),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def roberta() -> PreTrainedTokenizerBase:
    """RoBERTa: byte-level BPE, ``<s> ... </s>``."""
    vocab, merges = byte_level(ROBERTA_SPECIALS)
    return RobertaTokenizer(vocab=vocab | {"<mask>": len(vocab)}, merges=merges)


def qwen2() -> PreTrainedTokenizerBase:
    """Qwen2: byte-level BPE of composed characters, ``... <|endoftext|>`` as Qwen3-Embedding."""
    vocab, merges = byte_level(["<|endoftext|>"])
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges)
    last = "<|endoftext|>"
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A:0 {last}:0", pair=f"$A:0 $B:1 {last}:1", special_tokens=[(last, vocab[last])]
    )
    return tokenizer


def qwen2_yes_no() -> PreTrainedTokenizerBase:
    """Qwen2 as a reranker has it: the tokens of a chat, and those that score a pair."""
    vocab, merges = byte_level(["<|endoftext|>", "yes", "no"])
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    return tokenizer


def xlm_roberta() -> PreTrainedTokenizerBase:
    """XLM-R: Unigram over metaspace, padding id 1."""
    return XLMRobertaTokenizer(vocab=unigram(ROBERTA_SPECIALS))


def camembert() -> PreTrainedTokenizerBase:
    """CamemBERT: as XLM-R, with fairseq's unused entries in front."""
    return CamembertTokenizer(vocab=unigram(CAMEMBERT_SPECIALS))


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "bert": bert,
    "bert-cased": bert_cased,
    "yes-no": yes_no,
    "distilbert": distilbert,
    "mpnet": mpnet,
    "roberta": roberta,
    "qwen2": qwen2,
    "qwen2-yes-no": qwen2_yes_no,
    "xlm-roberta": xlm_roberta,
    "camembert": camembert,
}
