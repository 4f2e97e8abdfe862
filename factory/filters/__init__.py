"""Filters: what judges. One file a filter; found by name."""
