"""`factory.export`: the dataset of a run in a fine-tuning format, with splits that do not leak.

    export("runs/quickstart", "out", format="messages", validation=0.1, tokenizer="embedded", max_tokens=2048)
    ->  out/train.jsonl, out/validation.jsonl, out/export.json

Rows go one by one through: made into the format, empty and equal ones left out, benchmarks, lengths, split. Whatever is
left out is counted with its reason.
"""

from __future__ import annotations

from pathlib import Path

from factory.exporting.flow import Exported, run
from factory.exporting.settings import Settings, formats

__all__ = ["Exported", "export", "formats"]


def export(
    path: str | Path,
    out: str | Path,
    *,
    format: str = "messages",
    validation: float = 0.0,
    templates: str | None = None,
    instruction: str = "instruction",
    input: str = "input",
    output: str = "output",
    system: str | None = None,
    test: float = 0.0,
    ids: bool = False,
    tokenizer: str | None = None,
    max_tokens: int | None = None,
    decontaminate: list[str] | None = None,
    shard_rows: int | None = None,
    parquet: bool = False,
    pair: str = "answers",
    score: str | None = None,
    margin: float = 0.0,
    formulas: str = "neutralise",
) -> Exported:
    """Write the kept rows of a run for a training or a spreadsheet.

    Args:
        path: Run directory.
        out: Folder for `train.jsonl` and the files of the other splits.
        format: One of `formats()`.
        validation: Share of families in the validation split, in [0, 1).
        templates: Layout: `plain` or `self-instruct` for prompt-completion, `plain` or `conversational` for it and for
            preference; that of the format by default.
        instruction: Column of the instruction; for a `prompt` step, the column that was asked about.
        input: Column of the input; may be missing.
        output: Column of the answer.
        system: Column of a system message.
        test: Share of families in the test split, in [0, 1).
        ids: Write the `record_id` (for preference `chosen_id` and `rejected_id`) as well, for `factory why`.
        tokenizer: Folder, Hub id or `embedded`: counts tokens, and gives the format `text` its chat template.
        max_tokens: Leave out rows that are longer.
        decontaminate: Benchmarks: rows that overlap with one go to `removed.jsonl`.
        shard_rows: Most rows in a file.
        parquet: Write Parquet instead of JSON Lines.
        pair: For preference: `answers` to one question, or `tasks` evolved from one task.
        score: For preference: column of the score; more is better. That of the judge by default.
        margin: For preference: least difference of scores.
        formulas: For csv: `neutralise`, or `keep` texts that a spreadsheet would calculate.

    Returns:
        What was written, and what was left out and why.

    Raises:
        UserError: If an argument or a column is not there, or the folder cannot be written.
    """
    settings = Settings(
        format=format,
        templates=templates,
        instruction=instruction,
        input=input,
        output=output,
        system=system,
        validation=validation,
        test=test,
        ids=ids,
        tokenizer=tokenizer,
        max_tokens=max_tokens,
        decontaminate=tuple(decontaminate or ()),
        shard_rows=shard_rows,
        parquet=parquet,
        pair=pair,
        score=score,
        margin=margin,
        formulas=formulas,
    )
    return run(Path(path), Path(out), settings)
