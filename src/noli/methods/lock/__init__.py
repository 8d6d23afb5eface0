"""Pictures and models that are meant to be of use with a key only."""

import pkgutil

from noli._lazy import attach

_MODULES = [module.name for module in pkgutil.iter_modules(__path__)]
__getattr__, __dir__ = attach(__name__, {name: f"{__name__}.{name}" for name in _MODULES})
