"""The command `suite`: one file per command, no logic."""
