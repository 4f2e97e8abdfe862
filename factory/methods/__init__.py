"""Methods: what generates. One file (or package) a method; found by name."""
