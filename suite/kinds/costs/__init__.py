"""Tokens and multiply-accumulates beside published figures."""
