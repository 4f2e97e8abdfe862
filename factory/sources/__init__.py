"""Sources: where records come from. One file a source; found by name."""
