"""The kinds of entries that the catalogue has, the functions that each gives, and the entries.

What the fields mean is said at the top of ``activations``, the page that enters them. The package
gets its names from here when it is imported, so NumPy is not imported before it is needed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "ALIASES",
    "CATALOGUE",
    "REQUIRED",
    "SUFFIXES",
    "Activation",
    "Entry",
    "Form",
    "Gated",
    "Joined",
    "Largest",
    "Parameter",
    "Randomized",
    "RowFormula",
    "Rows",
    "Variants",
    "activation_of",
    "constrain",
    "formulas",
    "row_formula",
    "unknown_choice",
]

#: What a parameter without a default has in its place.
REQUIRED = inspect.Parameter.empty

#: What follows an entry's name in the names of its functions.
SUFFIXES = {
    "forward": "",
    "in_place": "_",
    "backward": "_backward",
    "backward_from_output": "_backward_from_output",
}


class Parameter(NamedTuple):
    """An argument of a public function that is not one of its arrays."""

    name: str
    about: str
    default: Any = REQUIRED
    #: As documentation names it.
    type: str = "float or array_like"
    keyword_only: bool = False


class Form(NamedTuple):
    """A public function of an entry, and how it is called: arrays, parameters, ``out``.

    ``which`` is a key of ``SUFFIXES``. ``keywords``: on the CPU it takes those of ufuncs, too.
    """

    entry: Entry
    which: str
    arrays: tuple[str, ...]
    parameters: tuple[Parameter, ...] = ()
    outputs: int = 1
    keywords: bool = True

    @property
    def name(self) -> str:
        return self.entry.name + SUFFIXES[self.which]

    @property
    def out(self) -> str:
        """The argument that the result is written to."""
        return self.arrays[0] if self.which == "in_place" else "out"


class Fields:
    """What has the fields that its class declares, given by name; those with a value need not be.

    A dataclass but for the time that it takes to make one, which every import of the package would
    pay: 4 ms for three of them, where these take 1.
    """

    def __init__(self, **given: Any) -> None:
        declared = [name for base in type(self).__mro__[:-1] for name in base.__annotations__]
        unknown = sorted(given.keys() - set(declared))
        missing = [name for name in declared if name not in given and not hasattr(type(self), name)]
        if unknown or missing:
            problem = f"has no {unknown[0]!r}" if unknown else f"needs {missing[0]!r}"
            raise TypeError(f"{type(self).__name__} {given.get('name', '')}: {problem}")
        self.__dict__.update(given)
        self.given = given

    given: dict[str, Any] = {}  # noqa: RUF012

    def replaced(self, **changes: Any) -> Self:
        """The same with some fields changed."""
        return type(self)(**(self.given | changes))


class Entry(Fields):
    """What entries of every kind have."""

    name: str
    doc: str = ""
    idiom: str = ""
    backward_idiom: str = ""
    backward_doc: str = ""
    reference: str = ""
    family: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def forms(self) -> list[Form]:
        """The public functions."""
        raise NotImplementedError

    @property
    def summary(self) -> str:
        """The first line of the documentation."""
        return self.doc.partition("\n")[0]


class Activation(Entry):
    """A function of the elements of one array, or for kernels within others, of several."""

    formula: Callable[..., Any]
    derivative: Callable[..., Any] | None = None
    derivative_from_output: Callable[..., Any] | None = None
    default_formula: Callable[..., Any] | None = None
    default_derivative: Callable[..., Any] | None = None
    about: tuple[str, ...] = ()
    keeps_integers: bool = False
    constraints: tuple[tuple[str | float, str | float], ...] = ()
    arrays: int = 1
    channels: bool = False

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        described = [*self.parameters, *self.derivative_parameters]
        if len(self.about) != len(described):
            raise TypeError(f"{self.name}: 'about' must describe {described}")

    @functools.cached_property
    def parameters(self) -> dict[str, Any]:
        """Names of the formula's arguments after the arrays, with their defaults."""
        return _arguments(self.formula, self.arrays)

    @functools.cached_property
    def derivative_parameters(self) -> dict[str, Any]:
        """Those that only the derivative has, with their defaults."""
        given = _arguments(self.derivative, self.arrays) if self.derivative else {}
        return {name: default for name, default in given.items() if name not in self.parameters}

    @property
    def has_defaults(self) -> bool:
        """Whether there are parameters, and all of them have defaults."""
        defaults = self.parameters.values()
        return bool(defaults) and REQUIRED not in defaults

    @property
    def weights(self) -> bool:
        """Whether the parameters usually are arrays: kernels get a fast path for them."""
        return self.channels

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        """The parameters of the public functions."""
        pairs = zip(self.parameters.items(), self.about, strict=False)
        given = [Parameter(name, about, default) for (name, default), about in pairs]
        if self.channels:
            given.append(Parameter("axis", "the axis of x that counts channels", 1, "int"))
        return tuple(given)

    @property
    def backward_arguments(self) -> tuple[Parameter, ...]:
        """Those of the backward function: the derivative's own ones by name only."""
        about = self.about[len(self.parameters) :]
        own = zip(self.derivative_parameters.items(), about, strict=True)
        return self.arguments + tuple(
            Parameter(name, text, default, keyword_only=True) for (name, default), text in own
        )

    @property
    def formulas(self) -> list[tuple[Activation, dict[str, str]]]:
        """What is computed, and what a call gives to choose it."""
        return [(self, {})]

    def chosen(self, given: Mapping[str, Any]) -> tuple[Activation, dict[str, Any]]:
        """The kernel, and all its parameters, from those that a public function is given.

        What is missing is ``REQUIRED``. Raises TypeError if one is unknown.
        """
        self._check_names(given, self.parameters)
        return self, self.parameters | dict(given)

    def _check_names(self, given: Mapping[str, Any], known: Iterable[str]) -> None:
        unknown = sorted(given.keys() - set(known))
        if unknown:
            takes = ", ".join(known) or "no parameters"
            raise TypeError(f"{self.name} has no parameter {unknown[0]!r}; it takes {takes}")

    @property
    def forms(self) -> list[Form]:
        made = [
            Form(self, "forward", ("x",), self.arguments),
            Form(self, "in_place", ("x",), self.arguments),
            Form(self, "backward", ("grad", "x"), self.backward_arguments),
        ]
        if self.derivative_from_output:
            made.append(Form(self, "backward_from_output", ("grad", "y")))
        return made


class Randomized(Activation):
    """An activation with one parameter, drawn uniformly between two numbers in training.

    Otherwise it is their mean. ``lower`` and ``upper`` are the defaults of those numbers.
    """

    lower: float
    upper: float

    @property
    def weights(self) -> bool:
        return True

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        (drawn,) = self.parameters
        seed = "where they come from: a generator, or the seed of one"
        noise = f"in training, filled with the {drawn} of each element, which is 1 where x > 0"
        return (
            *self._ends,
            Parameter("training", f"whether a {drawn} is drawn for each element", False, "bool"),
            Parameter("rng", seed, None, "numpy.random.Generator or int"),
            Parameter("noise", noise, None, "ndarray of x's shape"),
        )

    @property
    def backward_arguments(self) -> tuple[Parameter, ...]:
        filled = f"what ``{self.name}`` filled in training"
        return (*self._ends, Parameter("noise", filled, None, "ndarray of x's shape"))

    @property
    def _ends(self) -> tuple[Parameter, Parameter]:
        (about,) = self.about
        return (
            Parameter("lower", f"{about}: lower end", self.lower, "float"),
            Parameter("upper", f"{about}: upper end, not below lower", self.upper, "float"),
        )

    def chosen(self, given: Mapping[str, Any]) -> tuple[Activation, dict[str, Any]]:
        ends = {end.name: end.default for end in self._ends}
        self._check_names(given, ends)
        (drawn,) = self.parameters
        return self, {drawn: self.mean(self.name, **(ends | dict(given)))}

    def mean(self, function: str, lower: Any, upper: Any) -> Any:
        """What the parameter is outside of training."""
        constrain(function, "lower", lower, "upper", upper)
        return (lower + upper) / 2

    def draw(self, function: str, lower: Any, upper: Any, rng: Any, shape: tuple[int, ...]) -> Any:
        """What it is in training, in float64."""
        import numpy as np

        constrain(function, "lower", lower, "upper", upper)
        return np.random.default_rng(rng).uniform(lower, upper, shape)


class Variants(Entry):
    """One name for several formulas; ``parameter`` says by its value which one is meant.

    The first one is the default.
    """

    parameter: str
    about: str
    variants: Mapping[str, Activation]

    @property
    def choice(self) -> Parameter:
        names = list(self.variants)
        listed = ", ".join(f'"{name}"' for name in names)
        return Parameter(self.parameter, self.about, names[0], f"{{{listed}}}")

    @property
    def formulas(self) -> list[tuple[Activation, dict[str, str]]]:
        return [(variant, {self.parameter: key}) for key, variant in self.variants.items()]

    def chosen(self, given: Mapping[str, Any]) -> tuple[Activation, dict[str, Any]]:
        given = dict(given)
        wanted = given.pop(self.parameter, self.choice.default)
        return self.variant(self.name, wanted).chosen(given)

    def variant(self, function: str, wanted: Any) -> Activation:
        """The variant of this name; raises ValueError in the name of ``function``."""
        if wanted not in self.variants:
            raise unknown_choice(function, self.parameter, self.variants, wanted)
        return self.variants[wanted]

    @property
    def forms(self) -> list[Form]:
        return [
            Form(self, "forward", ("x",), (self.choice,)),
            Form(self, "in_place", ("x",), (self.choice,)),
            Form(self, "backward", ("grad", "x"), (self.choice,)),
        ]


def unknown_choice(function: str, parameter: str, known: Iterable[str], given: Any) -> ValueError:
    """The error where a parameter is none of the ``known`` names."""
    *others, last = map(repr, known)
    names = f"{', '.join(others)} or {last}"
    got = repr(given) if isinstance(given, str) else type(given).__name__
    hint = " (an output is given as out=)" if hasattr(given, "__array_interface__") else ""
    return ValueError(f"{function}: {parameter} must be {names}, got {got}{hint}")


class Gated(Entry):
    """A gated linear unit: activation(gate) * up, ``activation`` being a name in the catalogue.

    ``halves``: gate and up are the halves of one array along an axis, up first. Where the
    activation has variants, so has the unit.
    """

    activation: str
    halves: bool = False

    @property
    def of(self) -> Activation | Variants:
        """The activation of the gate."""
        found = CATALOGUE[self.activation]
        assert isinstance(found, Activation | Variants)
        return found

    @property
    def forms(self) -> list[Form]:
        if self.halves:
            axis = (Parameter("axis", "the axis that is halved; its length is even", -1, "int"),)
            return [
                Form(self, "forward", ("x",), axis),
                Form(self, "backward", ("grad", "x"), axis, keywords=False),
            ]
        choice = (self.of.choice,) if isinstance(self.of, Variants) else ()
        return [
            Form(self, "forward", ("gate", "up"), choice),
            Form(self, "in_place", ("gate", "up"), choice),
            Form(self, "backward", ("grad", "gate", "up"), choice, outputs=2),
        ]


class Joined(Entry):
    """The results of two formulas, one after the other along an axis.

    ``derivative`` makes the gradient from those of the two halves, and x.
    """

    first: Activation
    second: Activation
    derivative: Activation

    @property
    def forms(self) -> list[Form]:
        longer = "the axis along which the result is twice as long as x"
        axis = (Parameter("axis", longer, -1, "int"),)
        return [
            Form(self, "forward", ("x",), axis, keywords=False),
            Form(self, "backward", ("grad", "x"), axis),
        ]


class RowFormula(Fields):
    """``result`` of each element of a row, and of the sum of ``term`` over the row.

    ``term(..., top)``: ``top`` is the largest element of the row, for functions of one array.
    ``total`` says what ``result`` gets to know of the sum, in two parts, the second being what the
    first has lost to rounding: the "sum" itself, its "inverse", or its "logarithm" plus ``top``.
    ``keeps_term``: ``result`` is a function of the term instead of the element.
    """

    name: str
    term: Callable[..., Any]
    result: Callable[..., Any]
    total: str
    keeps_term: bool = False

    @property
    def inputs(self) -> list[str]:
        return [name for name in _arguments(self.term, 0) if name != "top"]


class Rows(Entry):
    """A function of rows along an axis; its backward takes the output."""

    formula: RowFormula
    backward: RowFormula

    @property
    def forms(self) -> list[Form]:
        axis = (Parameter("axis", "the axis along which the rows lie", -1, "int"),)
        return [
            Form(self, "forward", ("x",), axis),
            Form(self, "in_place", ("x",), axis),
            Form(self, "backward", ("grad", "y"), axis),
        ]


class Largest(Entry):
    """The largest element of each row, and where it is."""

    @property
    def forms(self) -> list[Form]:
        pieces = "the axis that has the pieces of each unit, and that the results do not have"
        axis = Parameter("axis", pieces, -1, "int")
        length = Parameter("pieces", "how long x was along ``axis``", type="int")
        return [
            Form(self, "forward", ("x",), (axis,), outputs=2),
            Form(self, "backward", ("grad", "indices"), (length, axis)),
        ]


def constrain(function: str, small_name: str, small: Any, large_name: str, large: Any) -> None:
    """Raise ValueError unless ``small <= large``, also element by element; NaN passes."""
    violated = small > large
    if violated is False:  # as for numbers
        return
    import numpy as np

    if np.any(violated):
        bound = small_name if small_name == str(small) else f"{small_name} = {small}"
        raise ValueError(f"{function}: {large_name} must be at least {bound}, got {large}")


# --- the entries --------------------------------------------------------------------------------

CATALOGUE: dict[str, Entry] = {}
#: Other names of entries.
ALIASES: dict[str, str] = {}


def formulas() -> dict[str, Activation]:
    """The activations by the name of each formula: "gelu" and "gelu_tanh" are two."""
    entries = [e for e in CATALOGUE.values() if isinstance(e, Activation | Variants)]
    return {formula.name: formula for entry in entries for formula, _ in entry.formulas}


def activation_of(name: str) -> Activation:
    """The activation of this name, of which there is one formula."""
    entry = CATALOGUE[name]
    assert isinstance(entry, Activation)
    return entry


def row_formula(name: str) -> RowFormula:
    """What the function of rows of this name computes."""
    entry = CATALOGUE[name]
    assert isinstance(entry, Rows)
    return entry.formula


def _arguments(function: Callable[..., Any], after: int) -> dict[str, Any]:
    """Names of the arguments after the first ones, with their defaults."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    values = (*[REQUIRED] * (len(names) - len(defaults)), *defaults)
    return dict(list(zip(names, values, strict=True))[after:])
