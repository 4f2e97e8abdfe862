"""An engine that answers from a script: for tests of what stands above engines, never a default.

`ScriptedEngine(lambda request: "ok")` answers "ok"; a script file does the same from a recipe:

    {"latency_s": 0.01, "log": "asked.txt", "die_after": [50], "context_length": 2048,
     "rules": [{"contains": "Translate", "answers": ["Bonjour {hash}"]},
               {"contains": "Rate", "answers": [{"text": "4", "logprobs": {"4": -0.1, "5": -2.4}}]}],
     "answers": ["yes", "no"]}

An answer is chosen by a hash of the request, and `{hash}` in it becomes eight hex digits of that hash. Where
log-probabilities are asked for and the script gives none, its answer's first word is certain.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factory.engines.protocol import Capabilities, Completion, Request, likeliest
from factory.errors import EngineDied, RequestRefused, UserError
from factory.records import digest

Answers = Callable[[Request], "str | Completion"]
MOST_LOGPROBS = 1000


class ScriptedEngine:
    """Answers from a function.

    Args:
        answer: Text or completion for a request; may raise what an engine may raise.
        latency_s: Seconds between question and answer.
        die_after: The engine dies once before answering each of these request counts.
        log: File that gets one line for each request asked.
        context_length: Words, standing for tokens, that prompt and answer may have.
        logprobs: Most log-probabilities that a request may ask for.
    """

    def __init__(
        self,
        answer: Answers,
        *,
        latency_s: float = 0.0,
        die_after: tuple[int, ...] = (),
        log: Path | None = None,
        context_length: int | None = None,
        logprobs: int = MOST_LOGPROBS,
    ) -> None:
        """Nothing is opened until the first request."""
        self._answer = answer
        self._latency_s = latency_s
        self._deaths = sorted(die_after)
        self._log = log
        self._context_length = context_length
        self._logprobs = logprobs
        self.asked = 0
        self.starts = 0

    @property
    def capabilities(self) -> Capabilities:
        """A script takes seeds and ignores forms."""
        return Capabilities(
            seed_safe=True, structured=False, context_length=self._context_length, logprobs=self._logprobs
        )

    @property
    def description(self) -> str:
        """What it is."""
        return "scripted answers (no model)"

    async def start(self) -> None:
        """Count the start."""
        self.starts += 1

    async def complete(self, request: Request) -> Completion:
        """Answer from the script; words stand for tokens."""
        words = len(_text_of(request).split())
        if self._context_length is not None and words >= self._context_length:
            sentence = f"the prompt has {words} tokens, the context holds {self._context_length}."
            raise RequestRefused("prompt_too_long", sentence, words, self._context_length)
        self.asked += 1
        if self._deaths and self.asked >= self._deaths[0]:
            self._deaths.pop(0)
            raise EngineDied("the scripted engine died, as its script says.")
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(digest(request) + "\n")
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        answer = self._answer(request)
        if isinstance(answer, Completion):
            return answer
        return _completion(answer, words, request.logprobs)

    async def close(self) -> None:
        """Nothing to free."""


def _text_of(request: Request) -> str:
    return request.text if request.text is not None else "\n".join(message.content for message in request.messages)


def _completion(text: str, prompt_tokens: int, count: int, given: dict[str, float] | None = None) -> Completion:
    said = text.split()
    found = given if given is not None else dict.fromkeys(said[:1], 0.0)
    return Completion(
        text=text,
        finish_reason="stop",
        prompt_tokens=prompt_tokens,
        completion_tokens=max(1, len(said)),
        logprobs=likeliest(found.items(), count),
    )


def from_script(path: Path) -> ScriptedEngine:
    """An engine from a script file.

    Raises:
        UserError: If the file is missing or not such a script.
    """
    try:
        script = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: script of the scripted engine cannot be read: {error.strerror}.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}: script is not JSON: {error.msg}.") from error
    if not isinstance(script, dict) or not (script.get("answers") or script.get("rules")):
        raise UserError(f"{path}: expected an object with 'answers' (a list of texts) or 'rules'.")
    log = script.get("log")
    return ScriptedEngine(
        lambda request: _choose(script, request),
        latency_s=float(script.get("latency_s", 0.0)),
        die_after=tuple(script.get("die_after", ())),
        log=path.parent / log if log else None,
        context_length=script.get("context_length"),
    )


def _choose(script: dict[str, Any], request: Request) -> str | Completion:
    text, name = _text_of(request), digest(request)
    answers = list(script.get("answers", []))
    for rule in script.get("rules", []):
        if rule["contains"] in text:
            answers = rule["answers"]
            break
    chosen = answers[int(name[:8], 16) % len(answers)] if answers else ""
    if isinstance(chosen, dict):
        said = str(chosen["text"]).replace("{hash}", name[:8])
        return _completion(said, len(text.split()), request.logprobs, chosen.get("logprobs"))
    return str(chosen).replace("{hash}", name[:8])
