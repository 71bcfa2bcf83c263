import builtins

import pytest


@pytest.fixture
def no_pyarrow(monkeypatch):
    """pyarrow cannot be imported, as where it is not installed."""
    real_import = builtins.__import__

    def importing(name, *args, **kwargs):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)
