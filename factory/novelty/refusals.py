"""Answers in which a model refuses, or speaks of itself instead of answering.

    refusal("I'm sorry, but I can't help with that request.")           -> "I'm sorry, but I can't help with that"
    refusal("As an AI language model, I have no favourite colour.")     -> "As an AI language model, I"
    refusal("I'm sorry, but I can't come to your party on Saturday.")   -> None
    refusal("Write a story about a robot who says I cannot do that.")   -> None

The patterns are our own, for English, with the commonest ones of six other languages. They ask for more than an apology:
what is refused must be a request, and the sentence must begin with it, near the beginning of the text. What somebody says
between quotation marks does not count. A refusal in other words is missed; that is the price of few false alarms.
"""

from __future__ import annotations

import re
from typing import Final

WITHIN_CHARS: Final = 300

_SORRY = (
    r"(?:(?:i'm|i am|we're|we are)(?: (?:so|very|really|truly|terribly))? (?:sorry|afraid)|sorry|unfortunately|regrettably"
    r"|i (?:do )?apologi[sz]e(?: for [^.,\n]{1,40})?|my apologies|apologies)[,.;:!]?(?: (?:but|that|however))?,?\s+"
)
_CANNOT = (
    r"(?:i|we)(?: (?:really|simply|just))?(?: cannot| can't| can not| could not| couldn't| won't| will not"
    r"| won't be able to| will not be able to|(?: am|'m| are|'re) (?:unable|not able|not allowed|not permitted|not programmed) to"
    r"| must (?:respectfully |politely )?(?:decline|refuse) to| have to (?:decline|refuse) to)"
)
_REQUEST = r"(?:requests?|questions?|tasks?|instructions?|prompts?|quer(?:y|ies)|demands?)"
_REFUSED = (
    rf"(?:(?:assist|help)(?: you)?(?: (?:with|in) (?:that|this|your {_REQUEST}|such)|\s*[.!]?\s*$)"
    rf"|(?:engage|participate) in (?:that|this|such)"
    rf"|(?:fulfil?l?|complete|comply with|carry out|process|honou?r|accommodate|answer|respond to) "
    rf"(?:that|this|your|the|such)(?: \w+)? {_REQUEST}"
    r"|(?:provide|give|offer|generate|create|write|produce|share|discuss)(?: you)?(?: with)?(?: any)? "
    r"(?:(?:that|this|such)(?: an?)?(?: (?:kind|type|sort) of)? (?:content|information|material|response|advice|text|stor(?:y|ies))"
    r"|(?:personal|medical|legal|financial|professional) (?:advice|opinions?)"
    r"|(?:(?:step-by-step |detailed |specific )?instructions|guidance|information|advice|assistance) (?:on|about|for|regarding|that|to) )"
    r"|(?:browse|access) (?:the (?:internet|web)|real-time|external|your)"
    r"|do that[.!]?\s*$)"
)
_MODEL = r"(?:(?:large |small )?language model|(?:ai|artificial intelligence)(?:[- ](?:powered|based))?(?: language| chat)?(?: (?:model|assistant|chatbot|system|program))?)"
_LIMIT = r"[^.!?\n]{0,60}?(?:cannot|can't|can not|n't|not|unable|never|lack|without|no)\b"
_START = r"(?:^|(?<=[.!?:;\n])\s*|(?<=\n)[-*>\s]*)"
_CLAUSE = r"(?:^|(?<=[.!?,:;\n])\s*|\b(?:but|however|and|because|since|so|that)[, ]+)"
# Words of which a text must have one, and the pattern: most texts have none, and searching them costs ten times as much.
_WORDS_AND_PATTERNS = (
    (
        ("not", "n't", "unable", "decline", "refuse"),
        rf"{_START}(?:(?:however|but|so),? )?(?:{_SORRY})?{_CANNOT} {_REFUSED}",
    ),
    (
        ("language model",),
        rf"{_CLAUSE}as an? (?:ai )?(?:large )?language model,? (?:i|my)\b",
    ),
    (
        (" ai", "artificial", "language model"),
        rf"{_CLAUSE}as an? {_MODEL}, i\b{_LIMIT}",
    ),
    (
        (" ai", "artificial", "language model"),
        rf"{_START}i(?:'m| am) (?:just |only |merely |simply )?an? {_MODEL}(?:,| and| so| but|\.){_LIMIT}",
    ),
    (
        ("personal",),
        rf"{_START}(?:{_SORRY})?i (?:do not|don't) have (?:any )?personal (?:opinions?|feelings|beliefs|experiences?|preferences|emotions)",
    ),
    (
        ("have",),
        rf"{_START}(?:{_SORRY})?i (?:do not|don't)(?: currently)? have (?:(?:access to|the ability to (?:access|browse|see))"
        r" (?:real[- ]time|up-to-date|live (?:data|information)|external (?:sites|websites|sources|links)|your (?:files|location|device|data))"
        r"|real[- ]time (?:data|information|access))",
    ),
    (
        ("of my",),
        r"\bas of my (?:last|latest|most recent) (?:knowledge |training )?(?:update|cut-?off)\b",
    ),
    (
        ("my ",),
        r"\bmy (?:knowledge|training)(?: data)? (?:cut-?off|only goes up to|ends in)\b",
    ),
    (
        ("my ",),
        r"\b(?:against|violates?|conflicts? with) my (?:programming|(?:ethical |safety |content |usage )?guidelines|(?:content|usage|safety) polic(?:y|ies))\b",
    ),
    (
        ("decline",),
        rf"{_START}(?:{_SORRY})?i must (?:respectfully |politely )?decline (?:this|that|your) {_REQUEST}",
    ),
    (
        ("ki", "sprachmodell"),
        rf"{_CLAUSE}als (?:ein |eine )?(?:ki(?:[- ](?:sprachmodell|modell|assistent))?|(?:großes )?sprachmodell),? (?:kann|habe|bin|darf) ich\b",
    ),
    (
        ("leid",),
        rf"{_START}(?:es )?tut mir leid, (?:aber )?(?:ich kann|dabei kann ich)(?: (?:ihnen|dir))?[^.\n]{{0,30}} nicht (?:helfen|weiterhelfen|beantworten)",
    ),
    (
        ("en tant",),
        rf"{_CLAUSE}en tant qu(?:e |')(?:ia|(?:grand )?modèle de langage|intelligence artificielle|assistant ia)\b[^,\n]{{0,20}}, je\b",
    ),
    (
        ("como",),
        rf"{_CLAUSE}como (?:un )?(?:modelo de lenguaje|(?:una )?ia|(?:una )?inteligencia artificial)\b[^,\n]{{0,20}}, (?:no|yo)\b",
    ),
    (
        ("modelo",),
        rf"{_CLAUSE}como (?:um )?modelo de linguagem\b[^,\n]{{0,20}}, (?:não|eu)\b",
    ),
    (
        ("modello",),
        rf"{_CLAUSE}come (?:un )?modello linguistico\b[^,\n]{{0,20}}, (?:non|io)\b",
    ),
    (
        ("作为",),
        r"(?:^|(?<=[。！？，,.!?\n]))\s*作为(?:一个|一款|一种|一名)?(?:ai|人工智能|大型|大)?\s?(?:语言模型|语言ai|助手)",
    ),
    (
        ("抱歉",),
        r"(?:^|(?<=[。！？\n]))\s*(?:很|非常)?抱歉[，,]\s?我(?:无法|不能)(?:回答|提供|协助|帮助|满足|完成)",
    ),
)
_PATTERNS = tuple((words, re.compile(pattern, re.IGNORECASE)) for words, pattern in _WORDS_AND_PATTERNS)
_PLAIN = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "\u00a0": " ", "“": '"', "”": '"', "„": '"'})


def refusal(text: str, within: int = WITHIN_CHARS) -> str | None:
    """The words of a refusal in the first so many characters, the earliest of them; None if there is none."""
    beginning = text.lstrip().translate(_PLAIN)[:within]
    folded = beginning.lower()
    likely = [pattern for words, pattern in _PATTERNS if any(word in folded for word in words)]
    matches = [match for pattern in likely for match in pattern.finditer(beginning)]
    meant = [match for match in matches if beginning[: match.start()].count('"') % 2 == 0]
    return min(meant, key=lambda match: match.start()).group().strip() if meant else None
