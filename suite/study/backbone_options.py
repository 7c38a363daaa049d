"""What options of a backbone may be, as far as it is known before timm is asked."""

from __future__ import annotations

import math

# options of timm's vision transformers
PAIRS, COUNTS = ("img_size", "patch_size"), ("depth", "embed_dim", "num_heads", "in_chans")
TRUTHS = {"y", "n", "t", "f", "yes", "no", "on", "off", "true", "false"}  # that Python takes for true as texts
MOST = {"img_size": 2**16, "depth": 1000, "embed_dim": 2**16}


def wrong_option(key: str, said: object) -> str:
    """What is wrong with an option of a backbone, before timm says it in words of its own; numbers are in no quotes."""
    parts = said if isinstance(said, list) else [said]
    for part in parts:
        if isinstance(part, str) and (key in (*PAIRS, *COUNTS) or _is_number(part)):
            return f"a number is needed, found the text {part!r}"
        if isinstance(part, str) and part.strip().casefold() in TRUTHS:
            return f"timm takes every text for true; write true or false without quotes, found the text {part!r}"
        if isinstance(part, float) and not math.isfinite(part):
            return f"must be a finite number, found {part}"
    if key in PAIRS and isinstance(said, list) and len(parts) != 2:
        return f"a number or two, height and width, are needed, found {said}"
    if key in COUNTS and isinstance(said, list):
        return f"a number is needed, found the list {said}"
    if key in (*PAIRS, *COUNTS) and not all(type(part) is int for part in parts if said is not None):
        return f"a whole number is needed, found {said}"
    if key in (*PAIRS, *COUNTS) and any(isinstance(part, int) and part < 1 for part in parts):
        return f"at least 1, found {said}"
    most = MOST.get(key, math.inf)
    return f"at most {most}, found {said}" if any(isinstance(part, int) and part > most for part in parts) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
