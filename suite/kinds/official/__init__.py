"""The official code of each method, timed beside ours."""
