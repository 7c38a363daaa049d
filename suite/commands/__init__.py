"""Commands with many options; what each does is in a module of its own, imported when it is called."""
