"""Mass e-mail distribution and tracking, with an account of every letter."""
