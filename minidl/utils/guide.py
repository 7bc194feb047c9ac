"""What users of other libraries type from habit becomes an error that says what minidl has instead.

The table is `minidl/utils/habits.py`. An error keeps the type that Python gives it, AttributeError or TypeError, so
that `hasattr`, `copy` and whoever else asks find nothing where there is nothing.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from minidl.utils import habits

Function = TypeVar("Function", bound=Callable[..., Any])

# To look at a signature takes longer than to build a small layer.
signature_of: Callable[[Any], inspect.Signature] = functools.cache(inspect.signature)

# What tab completion shows of an object, beside its arguments; all there is where no class is listed.
SHOWN = {
    "Layer": "forward backward parameters build backend dtype n_in n_out name children walk penalty_cost",
    "Model": "layers predict summary save snapshot restore lock epochs_trained feature_names class_names",
    "Parameter": "name value gradient shape size dtype decays max_norm transform",
    "Optimizer": "step steps new snapshot restore schedules",
    "Loss": "forward backward value restart mean_so_far new",
    "History": "epochs interrupted plot save",
    "Dataset": "batches classes has_labels",
}


def advice(table: Mapping[str, Mapping[str, str]], places: Iterable[str], name: str) -> str | None:
    """Return what the table says of `name` in the first of the places, classes for example, that it knows it in."""
    for place in places:
        for names, text in table.get(place, {}).items():
            if name in names.split(", "):
                return text.replace("`", "")
    return None


def no_attribute(kind: type, name: str, hint: str = "") -> AttributeError:
    """Return the error for an attribute that objects of a class do not have."""
    asked_by_python = name.startswith("__")  # for every object that it copies, and too often to look into the table
    if not asked_by_python and (text := advice(habits.ATTRIBUTES, [base.__name__ for base in kind.__mro__], name)):
        return AttributeError(f"{kind.__name__} has no {name}: {text}")
    return AttributeError(f"{kind.__name__!r} object has no attribute {name!r}{hint}")


def getattr_of(module: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module."""

    def __getattr__(name: str) -> Any:
        text = advice(habits.NAMES, [module, "minidl"], name)
        plain = f"module {module!r} has no attribute {name!r}"
        raise AttributeError(f"{module} has no {name}: {text}" if text else plain)

    return __getattr__


def dir_of(public: Iterable[str]) -> Callable[[], list[str]]:
    """Return the `__dir__` of a module with these public names."""
    return lambda: [*public, "__all__", "__doc__", "__file__", "__name__"]


def check_call(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise TypeError with advice if the arguments do not fit the signature, and there is advice; else do nothing."""
    if (error := _misfit(function, len(args), tuple(kwargs))) is not None:
        parameters = signature_of(function).parameters
        places = [kind.__name__ for kind in getattr(function, "__mro__", [function])]
        faults = [(f"takes no {name}", name) for name in kwargs if name not in parameters]
        faults += [(f"needs {name}", name) for name in parameters if repr(name) in error]
        if "too many" in error:
            faults.append((f"takes no {habits.TOO_MANY}", habits.TOO_MANY))
        for fault, name in faults:
            if text := advice(habits.ARGUMENTS, places, name):
                raise TypeError(f"{function.__name__} {fault}: {text}") from None
        if getattr(function, "__init__", None) is object.__init__:  # which leaves it to __new__ to refuse them
            raise TypeError(f"{function.__name__}() takes no arguments") from None


@functools.lru_cache(1000)  # to bind takes as long as to build a small layer
def _misfit(function: Any, positional: int, names: tuple[str, ...]) -> str | None:
    """Return what Python says of a call with so many arguments and these names; None if they fit the signature."""
    try:
        signature_of(function).bind(*[None] * positional, **dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    return None


def guided(function: Function) -> Function:
    """Let a call of `function` whose arguments do not fit lead to the right ones, by `check_call`."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        check_call(function, args, kwargs)
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


class _Signature:
    """The signature of a class, that of its `__init__`; `inspect` would take the one of `__new__` below."""

    def __get__(self, instance: Any, owner: Any) -> inspect.Signature:
        if instance is not None:
            raise AttributeError("__signature__")
        if owner.__init__ is object.__init__:
            return inspect.Signature()
        return inspect.signature(types.MethodType(owner.__init__, owner))


class _Foreign:
    """An attribute that there is not; what asks for it, or assigns to it, gets advice, and `hasattr` finds nothing.

    (`__getattr__` would do the same, but with one Python looks for all other attributes four times as long.) A class of
    the user's may assign to it, as to any other name.
    """

    def __init__(self, name: str):
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:  # asked of the class, as `inspect` does with all that stands there
            return self
        if self.name in vars(instance):
            return vars(instance)[self.name]
        raise no_attribute(owner, self.name)

    def __set__(self, instance: Any, value: Any) -> None:
        if type(instance).__module__.startswith("minidl."):
            raise no_attribute(type(instance), self.name)
        vars(instance)[self.name] = value


class Guided:
    """A class whose unknown attributes and arguments are errors that lead on, and whose `dir` is for users."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for names in habits.ATTRIBUTES.get(cls.__name__, ()):
            for name in names.split(", "):
                if name not in vars(cls):
                    setattr(cls, name, _Foreign(name))

    if not TYPE_CHECKING:  # a type checker would take all arguments for right ones
        __signature__ = _Signature()

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            if args or kwargs:  # none where it is copied
                check_call(cls, args, kwargs)
            return super().__new__(cls)

    def __dir__(self) -> list[str]:
        """Return the names that users need, and all that a class of theirs adds."""
        kinds = type(self).__mro__
        shown = {name for kind in kinds for name in SHOWN.get(kind.__name__, "").split()}
        if not shown:
            return [name for name in object.__dir__(self) if not isinstance(getattr(kinds[0], name, None), _Foreign)]
        shown.update(signature_of(type(self)).parameters)
        for own in ("_parameters", "_state"):
            kept = vars(self).get(own)
            shown.update(kept if isinstance(kept, dict) else ())
        for kind in kinds:
            if not kind.__module__.startswith("minidl."):
                shown.update(vars(kind))
        return [name for name in object.__dir__(self) if name in shown or name.startswith("__")]
