import keras
import numpy as np
import pytest

from keras_radn import hooks, layers, models, optimizers
from keras_radn.hooks import Hook


def test_a_missing_name_is_one_sentence():
    there = Hook("keras.Model", "fit", "3.15.1", "called")
    assert hooks.problem(hooks.KERAS + hooks.TENSORFLOW + (there,)) is None
    for owner, name in (
        ("keras.Model", "_gone"),
        ("keras.optimizers.Gone", "name"),
        ("tensorflow.python.gone", "name"),
    ):
        problem = hooks.problem((there, Hook(owner, name, "3.15.1", "read")))
        package = owner.partition(".")[0]
        assert problem.startswith(f"keras_radn needs {owner}.{name}. Received")
        assert problem.endswith(f"install {package}==3.15.1.")


def test_what_built_optimizers_have():
    weight = keras.Variable(np.ones((2, 2), "float32"))
    average, *moments = hooks.OPTIMIZER_STATE
    for optimizer, names in (
        (keras.optimizers.Adam(use_ema=True), [average, *moments]),
        (keras.optimizers.Muon(use_ema=True), [average]),
    ):
        optimizer.build([weight])
        for name in names:
            [kept] = hooks.optimizer_state(optimizer, name)
            assert kept.shape == weight.shape
        with pytest.raises(ImportError, match=r"needs _gone .*install keras=="):
            hooks.optimizer_state(optimizer, "_gone")


def test_all_private_methods_that_are_overridden_are_listed():
    listed = {hook.name for hook in hooks.KERAS + hooks.TENSORFLOW}
    public = [
        getattr(part, name)
        for part in (layers, models, optimizers)
        for name in part.__all__
    ]
    classes = {
        base
        for kind in public
        if isinstance(kind, type)
        for base in kind.__mro__
        if base.__module__.startswith("keras_radn.")
    }
    overridden = {
        name
        for kind in classes
        for name in vars(kind)
        if name.startswith("_") and not name.startswith("__")
        for base in kind.__mro__
        if base.__module__.startswith("keras.src.") and name in vars(base)
    }
    assert "_should_use_adamw" in overridden
    assert overridden <= listed
