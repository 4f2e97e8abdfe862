"""Is a text new? Exact similarity of one text to all the texts that were accepted before it.

`tokenizers` turns a text into tokens, `rouge_l` finds the most similar text of a pool:

    pool = RougeLPool()
    pool.add("Name three large rivers in Europe.")
    pool.nearest("Name three rivers in Europe.") -> Neighbour(index=0, score=0.909…)
"""
