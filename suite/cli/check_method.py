"""The command `suite check-method`."""

from __future__ import annotations

from typing import Annotated

import typer


def check_method(
    methods: Annotated[
        list[str] | None, typer.Argument(metavar="FILE_OR_NAME", help="Files or names; by default all methods.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what needs torch.compile.")] = False,
) -> None:
    """Check that methods keep the contract, on tiny backbones of every kind; a file need not be installed."""
    from rich.console import Console

    from suite.reduction.registry import default_settings, method_class, modules

    names = list(dict.fromkeys(methods or sorted(modules())))
    for name in names:
        default_settings(name)
        method_class(name)

    import torch

    from suite.contract.run import CHECKS, SLOW
    from suite.contract.show import examine_visibly, show

    torch.set_num_threads(1)  # on tensors this small, more of them wait for each other
    console = Console(markup=False)
    results = examine_visibly(names, [check for check in CHECKS if not (quick and check in SLOW)], console)
    show(results, console)
    if any(result.status == "fails" for result in results):
        raise typer.Exit(1)
