"""The command `suite`: no logic."""
