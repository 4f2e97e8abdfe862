"""Facts from a run directory, in bounded memory: counts of all rows, and a sample of rows where there are many.

`rows` streams over the Parquet files; the other modules turn what it gives into the facts that one panel shows.
"""
