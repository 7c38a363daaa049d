"""Settings and arguments at their edges."""

import pytest
import torch
from backbones import build

from suite.reduction.model import reduce

IMAGES = torch.randn(4, 3, 32, 32)
LABELS = torch.tensor([1, 2, 3, 4])


def test_several_queries_predict_the_label_each() -> None:
    """In classification the auxiliary loss is the mean over the queries of each module."""
    model = reduce(build("vit"), "cropr", (9, 0, 0, 0), {"queries": 3}).train()
    auxiliary = model.outputs(IMAGES).auxiliary
    loss = model.method.auxiliary_loss(auxiliary, LABELS, torch.nn.functional.cross_entropy)
    one_by_one = [torch.nn.functional.cross_entropy(auxiliary[0][:, query], LABELS) for query in range(3)]
    assert loss is not None
    assert loss.item() == pytest.approx(torch.stack(one_by_one).mean().item(), abs=1e-6)


def test_a_deployed_cropr_is_not_trained() -> None:
    """The message says why."""
    model = reduce(build("vit"), "cropr", (9, 0, 0, 0)).deploy().train()
    with pytest.raises(ValueError, match="has no auxiliary heads left"):
        model.outputs(IMAGES)


@pytest.mark.parametrize(
    ("removed", "message"), [((), "the schedule is empty"), ((1, 1), "has 2 counts but the backbone has 4 blocks")]
)
def test_counts_that_do_not_fit_the_backbone_are_refused(removed: tuple[int, ...], message: str) -> None:
    """An empty schedule is not a schedule of zeros."""
    with pytest.raises(ValueError, match=message):
        reduce(build("vit"), "variance", removed)
