"""Import mmsegmentation before anything of it is used: quietly, and with a sentence where it is missing."""

import contextlib
import io
import warnings

import suite.torchvision_operators  # noqa: F401  (before mmcv, which imports torchvision)
from suite.errors import UserError

NOISE = (
    (r"`torch\.jit\.\w+` is deprecated", DeprecationWarning),  # torch.distributed.optim, which mmengine imports
    ("Fail to import ``MultiScaleDeformableAttention``", UserWarning),  # mmcv without compiled operators: not needed
)

with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # "Could not import OneDL", twice
    for message, category in NOISE:
        warnings.filterwarnings("ignore", message, category)
    try:
        import mmseg.datasets
        import mmseg.evaluation
        import mmseg.models  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"segmentation needs mmsegmentation, which cannot be imported ({error}); install the extra `segmentation` "
            "of cropr-suite"
        ) from error
