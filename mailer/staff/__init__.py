"""Who of the office may look at the staff pages: accounts, sessions, and how often one may guess."""
