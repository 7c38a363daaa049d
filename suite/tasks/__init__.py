"""What a model is trained and evaluated for."""
