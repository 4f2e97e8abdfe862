"""Exports: fine-tuning formats. One file a format; found by name."""
