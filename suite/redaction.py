"""Text without secrets: what a person reads, or a record or MLflow keeps, passes here if it may name an address."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

HIDDEN = "***"
WORDS = {"true", "false", "none", "null"}  # no secrets, whatever the variable is called
SHORTEST, KEY = 4, 16  # characters of what is looked for in texts, which have every shorter word; of a key as a login
SURE = 8  # characters from which a secret is hidden inside of words too
ADDRESSES = re.compile(r"(?:URI|URL|ADDRESS|PROXY|DSN)$", re.IGNORECASE)  # variables whose value may have a login
SECRETS = re.compile(
    r"(?:PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|(?:^|_)(?:PASS|AUTH|PAT)|_PWD|(?:SECRET|API|ACCESS|ACCOUNT|PRIVATE)_?KEY"
    r"|CONNECTION_?STRING)$",
    re.IGNORECASE,
)
LOGIN = re.compile(  # a password may have any character, a host in brackets is none
    r"(?<=://)(?!\[[\w:.%]+\](?:[:/?#]|$))(?:[^\s/@:]+:(?!\d+/)\S*|[^\s/?#]*)@"
)
BARE = re.compile(r"(?<![\w/.:@+-])([\w.+-]+:)[^\s/@:]{4,}(?=@[\w\[])")  # a login in front of a host, without ://
NAMED = re.compile(  # NAME=VALUE in a query or a list of settings, or as Python and YAML show it; HTTP's own header
    r"((?:[?&;][\w.-]*(?:token|key|auth|pass|sig|signature|credential)="
    r"|(?<!class_)(?<!cls_)token['\"]?[ \t]*=[ \t]*['\"]?|private-token:[ \t]*"
    r"|(?:passw(?:or)?d|passphrase|pwd|secret|odbc_connect|(?:access|auth|refresh|api|session)[_-]?token"
    r"|(?:secret|api|access|account|private|shared)[_-]?key)(?:['\"]?[ \t]*[=:][ \t]*(?:b?['\"])?))"
    r"|authorization\W+(?:b['\"])?(?:basic|bearer|token)\s+)"
    r"((?<=')[^'\n]+(?=')|(?<=\")[^\"\n]+(?=\")|(?!(?:none|null|true|false)\b)[^\s&;#'\"]*[^\s&;#'\",)}\]])",
    re.IGNORECASE,
)


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """A text in which addresses have no login and their queries no secret, and no value of a secret variable stands.

    Variables are those of this process, or of `environment`.
    """
    for secret in sorted(_known(os.environ if environment is None else environment), key=len, reverse=True):
        whole = re.escape(secret) if len(secret) >= SURE else rf"(?<![\w/.-]){re.escape(secret)}(?![\w/-]|\.\w)"
        text = re.sub(whole, HIDDEN, text)
    return NAMED.sub(rf"\1{HIDDEN}", BARE.sub(rf"\1{HIDDEN}", LOGIN.sub("", text)))


def _known(environment: Mapping[str, str]) -> set[str]:
    """The secrets of variables, each as it is written there and as it is sent."""
    values = (one for name, value in environment.items() for one in _secrets(name, value))
    return {
        form for one in values for form in (one, unquote(one), quote(one, safe="")) if len(form) >= SHORTEST
    } - WORDS


def _secrets(name: str, value: str) -> Iterator[str]:
    if SECRETS.search(name):
        yield value
    if SECRETS.search(name) or ADDRESSES.search(name):
        yield from (found[2] for found in NAMED.finditer(value))
    if ADDRESSES.search(name):
        user, _, password = value.rpartition("@")[0].rpartition("://")[2].partition(":")
        yield password or (user if len(user) >= KEY else "")
