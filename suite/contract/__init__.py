"""What every token-reduction method must hold on every kind of backbone, as checks that a test or a person runs."""
