"""What the commands print: plain text that fits 80 columns, without colour codes.

Tables are laid out here and nowhere else.
"""
