"""Tokenizers of the kinds that models have, trained on a few sentences, and a schema with a column of every kind."""

from factory.tables.column import Column, code_of_date, code_of_float
from factory.tables.schema import Schema

SENTENCES = [
    'age is 39, workclass is State-gov, note is "Some text", born is 2001-02-03, price is -19.90, ok is true',
    'born is None, ok is false, age is 7, rate is 1e-05, workclass is Private, note is "more of it, is it", price is 0.05',
] * 4


def byte_level(vocab=420, **options):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=options.get("add_prefix_space", False))
    if options.get("digits"):
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        options.get("texts", SENTENCES + [" 3 4 5 6 7 -"] * 9),
        trainers.BpeTrainer(
            vocab_size=vocab, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False, min_frequency=2
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def llama():
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    learner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    learner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    learner.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=380, special_tokens=special, show_progress=False, max_token_length=9)
    )
    backend = Tokenizer.from_str(_without_added(learner.to_str()))
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", bos_token="<s>", unk_token="<unk>")


def _without_added(settings):
    import json

    loaded = json.loads(settings)
    loaded["added_tokens"] = []
    return json.dumps(loaded)


def unigram():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.train_from_iterator(
        SENTENCES + ["0 1 2 3 4 5 6 7 8 9 0123456789-:.e+"] * 3,
        trainers.UnigramTrainer(
            vocab_size=120, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False,
            initial_alphabet=list('0123456789-:.,e+"abcdefghijklmnopqrstuvwxyzNSTP'),
        ),
    )  # fmt: skip
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")


def wordpiece():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(
        SENTENCES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", "[SEP]"], show_progress=False)
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="[SEP]", unk_token="[UNK]")


EXACT = {
    "byte level": byte_level,
    "byte level, single digits": lambda: byte_level(digits=True),
    "byte level, blank first": lambda: byte_level(add_prefix_space=True),
    "llama": llama,
}


def days(text):
    return code_of_date(text, "%Y-%m-%d")


MIXED = Schema(
    (
        Column(name="age", kind="integer", low=-5, high=120),
        Column(
            name="work, is", kind="category", categories=("State-gov", "Private", "State", "a,b", "None", "", "é😀")
        ),
        Column(name="price", kind="decimal", places=2, low=-1990, high=250_000, nullable=True),
        Column(name="rate", kind="float", low=code_of_float(-2.5), high=code_of_float(1e-3)),
        Column(name="born", kind="date", low=days("1999-12-30"), high=days("2004-03-01"), nullable=True),
        Column(name="ok", kind="boolean", categories=(False, True), nullable=True),
        Column(name="note", kind="text", nullable=True),
        Column(name="id", kind="identifier"),
    )
)
