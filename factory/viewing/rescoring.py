"""What a rule had measured of the rows that it kept, measured again where the run has not left it.

* `rouge_l`: the nearest of the texts before each one, by `factory.novelty`, up to 50,000 texts.
* length: characters or words of the field.

Everything else is not known; `thresholds.stored` says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from factory.datasets_io.parquet import read_shards
from factory.errors import FactoryError
from factory.methods.self_instruct.rules import count_words
from factory.novelty.rouge_l import RougeLPool
from factory.rundir import RunDir
from factory.viewing.batches import KEPT, ON_THE_WAY, SOURCE, key_of
from factory.viewing.index import Columns
from factory.viewing.reading import Reader
from factory.viewing.thresholds import Rule, Scores, stored

MOST_TEXTS = 50_000


class Rescorer:
    """Measures in threads of its own, once for each rule of an index."""

    def __init__(
        self, directory: RunDir, manifest: dict[str, Any], columns: Columns, reader: Reader, *, ended: bool
    ) -> None:
        """Nothing is measured yet.

        Args:
            directory: The run.
            manifest: Its manifest.
            columns: Its index.
            reader: Reads its records.
            ended: Whether the run has ended and all of it is indexed.
        """
        self.stamp = (len(columns), ended)
        self._ended = ended
        self._directory = directory
        self._manifest = manifest
        self._columns = columns
        self._reader = reader
        self._found: dict[str, Scores] = {}
        self._lock = threading.Lock()

    def scores(self, rule: Rule) -> Scores:
        """All that is known of a rule's scores now; `working` where more is being measured."""
        with self._lock:
            if rule.key not in self._found:
                self._found[rule.key] = self._begin(rule)
            return self._found[rule.key]

    def _begin(self, rule: Rule) -> Scores:
        base = stored(self._columns, rule)
        if rule.column or not rule.field or rule.varied:
            return base
        if not self._ended:
            return replace(base, note="Scores of kept rows are measured when the run has ended and is read.")
        threading.Thread(target=self._measure, args=(rule, base), daemon=True, name="rescoring").start()
        return replace(base, note="Measuring the rows that were kept …", working=True)

    def _measure(self, rule: Rule, base: Scores) -> None:
        try:
            found = self._measured(rule, base)
        except (FactoryError, OSError) as error:
            found = replace(base, note=f"The rows that were kept cannot be measured: {error}")
        with self._lock:
            self._found[rule.key] = found

    def _measured(self, rule: Rule, base: Scores) -> Scores:
        if rule.rule == "rouge_l":
            return self._nearest(rule, base)
        keys, texts = self._texts(rule)
        words = rule.setting.endswith("words") or rule.rule == "instruction"
        if rule.rule == "quality" and not rule.setting:
            return base
        count = count_words if rule.rule == "instruction" else (lambda text: len(text.split())) if words else len
        scores = np.array([count(text.strip()) for text in texts], float)
        return self._told(base, keys, scores, f"{'Words' if words else 'Characters'} of kept rows were counted again.")

    def _nearest(self, rule: Rule, base: Scores) -> Scores:
        keys, texts = self._texts(rule)
        if len(texts) > MOST_TEXTS:
            note = f"{base.note} (Measuring again is for up to {MOST_TEXTS:,} texts; there are {len(texts):,}.)"
            return replace(base, note=note)
        tokenizer = self._option(rule, "tokenizer", "auto")
        pool = RougeLPool(tokenizer, keep_texts=False)
        scores = np.zeros(len(texts))
        for place, text in enumerate(texts):
            nearest = pool.nearest(text) if text.strip() else None
            scores[place] = 0.0 if nearest is None else nearest.score
            if text.strip():
                pool.add(text)
        own = np.array([key >= 0 for key in self._rows(keys)]) & self._judged(rule, keys)
        note = "Scores of kept rows: the nearest of the texts kept before each, measured again."
        return self._told(base, [key for key, one in zip(keys, own, strict=True) if one], scores[own], note)

    def _option(self, rule: Rule, name: str, default: Any) -> Any:
        for told, given in zip(self._manifest["steps"], self._manifest["recipe"]["steps"], strict=False):
            if told["step"] == rule.step:
                options = next(iter(given.values())) or {}
                return options.get(name) or (options.get("rules") or {}).get(name) or default
        return default

    def _rows(self, keys: list[int]) -> Any:
        return self._columns.rows_of(np.array(keys, np.uint64))

    def _judged(self, rule: Rule, keys: list[int]) -> Any:
        """Which of the texts the rule has judged: not the seeds, which it only compares with."""
        rows = self._rows(keys)
        if rule.method == "rouge_l":
            return self._columns.states[rows] == KEPT
        return self._columns.states[rows] == ON_THE_WAY

    def _texts(self, rule: Rule) -> tuple[list[int], list[str]]:
        """Keys and texts of the rows that a rule has kept, in their order; those of a group once."""
        group = self._option(rule, "group_by", None) if rule.method == "rouge_l" else None
        seen: set[str] = set()
        keys, texts = [], []
        for record_id, fields in self._records(rule):
            text = fields.get(rule.field)
            if group is not None and fields.get(group) is not None:
                if str(fields[group]) in seen:
                    continue
                seen.add(str(fields[group]))
            keys.append(key_of(record_id))
            texts.append("" if text is None else str(text))
        return keys, texts

    def _records(self, rule: Rule) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ids and fields: of the dataset, or, for what a method judges within itself, of what it had accepted."""
        if rule.method in ("rouge_l", "quality"):
            for row in read_shards(self._directory.path / "data"):
                yield row["record_id"], row
            return
        columns = self._columns
        of_step = [code for code, name in enumerate(columns.step_names) if name == rule.step]
        accepted = (columns.states == ON_THE_WAY) & np.isin(columns.steps, of_step)
        sources = (columns.states == SOURCE) if rule.rule == "rouge_l" else np.zeros(len(columns), bool)
        for row in [*np.flatnonzero(sources)[:MOST_TEXTS], *np.flatnonzero(accepted)]:
            record = self._reader.row(int(row))
            instance = "instruction_id" in record["fields"]  # repeats its instruction, which is there itself
            if rule.field in record["fields"] and not instance:
                yield record["id"], record["fields"]

    def _told(self, base: Scores, keys: list[int], scores: Any, note: str) -> Scores:
        rows = self._rows(keys)
        there = rows >= 0
        return replace(base, kept=rows[there], kept_scores=scores[there], known=True, note=note)
