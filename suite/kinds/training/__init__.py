"""Training every method on several seeds, and comparing them."""
