"""A study as one HTML page that needs nothing but itself: question, answer, table, figures, ledger and provenance."""
