"""Exports: fine-tuning formats. One file a format; found by name, nothing else is edited for a new one.

A format is a module with

* `TAKES`: what a row is made of, `"pair"` (a question and its answer), `"preference"` (two answers to one question) or
  `"row"` (all columns of the data);
* `convert(pair)`, `convert(preference)` or `convert(row)`: the row that is written, of texts and lists of messages;
* `sequences(row)`: what a model is trained on at once, for counting tokens: texts, or lists of messages that go through
  the chat template. A format without it has no token counts.

It may also have `VARIANTS`, other layouts by the name that `--templates` takes, each a function like `convert`, and
`LAYOUT`, the name of that of `convert` itself ("plain" by default);
`templated(pair, chat)`, used instead of `convert` where a tokenizer with a chat template is given; `ALONE`, a column
that is enough where there is no question; `KEEPS_EQUAL` where equal rows are no mistake; and `CONTAINER`, the one kind
of file that it is written to.
"""
