"""The staff pages: what goes out and how it went."""
