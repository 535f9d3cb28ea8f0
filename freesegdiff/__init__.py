"""An image becomes a named segmentation: no training, no class list.

The names below are fetched when first used, so that `import freesegdiff` stays instant:
torch, diffusers and the others load with the first pipeline, not before.
"""
__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers, which do not follow `__getattr__`
    from .core import FreeSegDiffError, ImageError, ModelError, Segmentation, SettingError
    from .pipeline import FreeSegDiff
    from .presets import PRESETS, Preset

_HOME = {
    "FreeSegDiff": "pipeline",
    "Preset": "presets",
    "PRESETS": "presets",
    "Segmentation": "core",
    "FreeSegDiffError": "core",
    "ImageError": "core",
    "ModelError": "core",
    "SettingError": "core",
}
__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
