"""Drawings as inline SVG, each with a title and a description for those who do not see it.

Colours are classes of the style sheet, so that a drawing follows the page from light to dark and onto paper.
"""
