"""Figures as inline SVG, one per file, each with a title, a description and the table of its numbers."""
