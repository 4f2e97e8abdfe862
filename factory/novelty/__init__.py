"""Is a text new? Texts against all those kept before them; usable without the rest of the package.

    from factory.novelty import NoveltyFilter

    novelty = NoveltyFilter(threshold=0.7)
    decisions = novelty.add_batch(["Name three large rivers in Europe.", "Name three rivers in Europe."])
    decisions.kept -> [True, False];  decisions.nearest -> [-1, 0];  novelty.text(0) -> "Name three large rivers …"

`rouge_l` is the exact filter by ROUGE-L; `cluster` is the same over several machines. `tokenizers` turns a text into
tokens. Below them: `encoding` (tokens to numbers and hashes), `pages` (bitmaps of the pool), `measure` (the score and
what a bitmap rules out), `pool`, `compiled` over three modules of kernels (numba), `plain` (numpy and rapidfuzz), `state` (saved to disk).
"""

from factory.novelty.rouge_l import Decisions, Neighbour, NoveltyFilter, RougeLPool

__all__ = ["Decisions", "Neighbour", "NoveltyFilter", "RougeLPool"]
