"""Figures as inline SVG in a page that loads nothing: scales, axes, labels and the style they share."""
