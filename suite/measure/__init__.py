"""What a reduced model costs: tokens, MACs, speed."""
