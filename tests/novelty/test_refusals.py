"""Refusals are found, and what only sounds like one is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.novelty import refusals
from factory.novelty.refusals import refusal

REFUSALS = """
I'm sorry, but I can't help with that.
I’m sorry, but I can’t assist with that request.
I am very sorry, but I cannot assist you with this.
Sorry, I can't help with that.
We are sorry, but we cannot process your request.
I'm really sorry, but I'm not able to help with that.
I cannot fulfill your request.
I can't fulfil this request. Building such a device is dangerous.
Unfortunately, I am unable to complete this task because no image was given.
I apologize, but I cannot provide instructions on how to pick a lock.
I apologise for the confusion, but I can't answer that question.
I'm unable to provide medical advice. Please see a doctor.
I cannot provide information about that, sorry.
I cannot create such content.
I can't write that kind of story.
I cannot browse the internet.
I will not engage in that.
I cannot answer this question.
I won't be able to help with that.
I can't do that.
I'm afraid I can't do that.
I must decline this request.
I must respectfully decline to answer that question.
Thank you for asking. However, I cannot respond to this prompt.
As an AI language model, I do not have feelings.
As an AI, I don't have personal experiences, but I can tell you about them.
As a large language model, I was trained on text.
However, as an AI language model, I cannot predict the future.
That is hard to say, as an AI language model I see no pictures.
I'm just an AI, so I can't feel pain.
I am an AI assistant and do not have a body.
I don't have personal opinions, but many people like jazz.
I do not have access to real-time data, so I cannot say.
I don't have real-time information about flights.
As of my last knowledge update in 2021, the record was 9.58 seconds.
My knowledge cutoff is September 2021.
That goes against my programming.
"No" is a short word. I cannot fulfil this request.
Als KI-Sprachmodell kann ich keine Gefühle haben.
Es tut mir leid, aber dabei kann ich Ihnen nicht helfen.
En tant que modèle de langage, je ne peux pas répondre.
En tant qu'IA, je n'ai pas d'opinion.
Como modelo de lenguaje, no tengo opiniones.
Como um modelo de linguagem, não tenho opiniões.
Come modello linguistico, non ho opinioni.
作为一个人工智能语言模型，我没有感情。
很抱歉，我无法回答这个问题。
""".strip().split("\n")

ANSWERS = """
Write a story about a robot who says I cannot do that.
I'm sorry, but I can't make it to the party on Saturday.
I'm sorry I can't help with the move on Sunday, my back still hurts.
"I'm sorry, Dave. I'm afraid I can't do that," said the computer.
"As an AI language model, I cannot love you," whispered the machine.
She typed for a while. “I'm sorry. I cannot fulfil this request.” The screen went dark.
As an AI researcher, I have seen many models fail.
As an AI engineer, I do not sleep much.
As an airline, we cannot be held liable for weather.
I am an AI enthusiast and I never miss a conference.
I must respectfully decline your kind invitation to the dinner.
Dear Mr Lee, unfortunately we cannot offer you the position.
I am sorry for the delay of your parcel.
We cannot provide a refund after thirty days.
I don't have access to the internet at home, so I go to the library.
I have no personal opinion of him.
It is against my principles to lie.
I cannot help falling in love with you.
I can't help but notice the new curtains.
I can't help it.
I cannot give you my bicycle.
I won't answer the phone tonight.
The user said he could not answer your question in time.
What is the difference between an AI and a language model?
Explain why a language model cannot count letters.
Do not write that I am an AI; write that I am a person.
My knowledge of French ends with the menu.
I cannot complete the race because of a sprained ankle.
The policy of the shop: we will not process returns without a receipt.
I can't write a book in one week.
I could not discuss the plan with her.
Sorry, we are closed.
Als Kind konnte ich gut schwimmen.
Es tut mir leid, dass du krank bist.
En tant que professeur, je ne peux pas répondre.
Como médico, no puedo estar de acuerdo.
抱歉，我迟到了。
""".strip().split("\n")


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_found(text: str) -> None:
    found = refusal(text)
    assert found
    assert found in text.replace("’", "'")


@pytest.mark.parametrize("text", ANSWERS)
def test_what_only_sounds_like_one_is_kept(text: str) -> None:
    assert refusal(text) is None


def test_only_the_beginning_is_searched() -> None:
    text = "Paris is the capital. " * 20
    assert refusal(text + REFUSALS[0]) is None
    assert refusal(text + REFUSALS[0], within=1000) is not None
    assert refusal("\n\n " + REFUSALS[0]) is not None


@given(st.sampled_from([*REFUSALS, *ANSWERS]), st.text(max_size=20))
def test_the_words_that_are_looked_for_first_hide_no_refusal(text: str, before: str) -> None:
    text = f"{before}\n{text}"
    plain = text.lstrip().translate(refusals._PLAIN)[:300]
    matches = [match for _, pattern in refusals._PATTERNS for match in pattern.finditer(plain)]
    meant = [match for match in matches if plain[: match.start()].count('"') % 2 == 0]
    assert (refusal(text) is None) == (not meant)


def test_every_pattern_has_a_refusal_that_needs_it() -> None:
    for words, pattern in refusals._PATTERNS:
        others = [other for _, other in refusals._PATTERNS if other is not pattern]
        plain = [text.translate(refusals._PLAIN) for text in REFUSALS]
        alone = [text for text in plain if pattern.search(text) and not any(other.search(text) for other in others)]
        assert alone, words


def test_a_long_text_takes_no_long_time() -> None:
    assert refusal("I am sorry " * 100_000) is None
