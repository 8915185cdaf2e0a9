"""Figures in text: numbers, dates, amounts and shares, with sign, scale and unit."""
