"""Rows in and rows out: readers, the spool of a running step, Parquet shards."""
