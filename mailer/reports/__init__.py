"""Figures as frozen values, and the tables, charts and pages made from them."""
