"""Published numbers against our own."""
