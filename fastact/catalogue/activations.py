"""The catalogue: every function as a scalar formula and its derivative.

This is the one place where a function is written. Kernels for every dtype, on the CPU and on the
GPU, the in-place and the backward function, tests, benchmarks, type stubs and reference
documentation are derived from it.

Every entry is a class body, under a decorator that says of which kind it is. Its docstring is the
public one: a summary of one line, what there is to know, and examples. Entries of all kinds have

``idiom``, ``backward_idiom``
    What a NumPy user writes today, in terms of ``x``, ``grad``, ``out`` and the parameters: shown
    in the documentation, timed by the benchmarks, and compared with the compiled function.
``backward_doc``
    The docstring of the backward function, if there is more to say than is derived.
``reference``
    The paper.
``aliases``
    Other names of the function.

``family(...)`` says how the entries below it are grouped in the documentation.

``@activation``: a function of the elements of one array.

``formula``
    A plain Python function of scalars; it also runs uncompiled, and so is its own reference. Its
    arguments after ``x`` are the parameters of the public function: same names, order, defaults.
``derivative``
    The formula's derivative by ``x``, with the same arguments. The backward function is
    ``grad * derivative`` with one rule on top: where the derivative is zero the result is zero,
    whatever ``grad`` is, so that an inactive unit does not pass on an infinity or a NaN. Further
    arguments, which need defaults, are parameters of the backward function alone.
``about``
    What each parameter means, in the order of the arguments; those of the derivative alone last.
``derivative_from_output``
    The derivative in terms of the formula's result, where there is one and it differs from
    ``derivative``: gives ``f_backward_from_output``.
``default_formula``, ``default_derivative``
    What formula and derivative come down to with the default parameters, where that is simpler.
``keeps_integers``
    Integer input gives output of the same integer dtype (otherwise it promotes to floating point).
``constraints``
    Inequalities that the parameters must satisfy, each as ``(smaller, larger)``; either side is a
    parameter's name or a number.
``channels``
    The parameter may have one number for each channel: the functions get an argument ``axis``.

``@randomized``: the same, with one parameter that is drawn between ``lower`` and ``upper`` in
training. ``@variants``: one name for several formulas, each a class in the body with the fields of
an activation; ``parameter`` is the argument that chooses one, ``about`` what it means.

``@gated``: the ``activation`` of one array times another one. ``halves``: both are halves of one
array. ``@joined``: the results of the formulas ``first`` and ``second`` along an axis, and
``derivative(grad_first, grad_second, x)``. ``@rows``: softmax and its like; what ``term``,
``result``, ``total`` and ``keeps_term`` mean is said at ``entries.RowFormula``; the class
``backward`` has those of the gradient, which is a function of the output. ``@largest``: maxout.

Two rules keep formulas fast and right. They consist of assignments and a ``return``, and choose
between *values* (``a if c else b``, conditions joined by ``&`` and ``|``), which compiles to code
without branches that LLVM vectorizes. Beside ``abs`` they call only functions of ``scalar``: what
these compile to is in ``fastact.source.elementary``, for ``fma`` and ``sqrt`` it is one instruction
(``fastact.cpu.arithmetic``), and ``constant`` becomes a number (``fastact.source.formulas``). And
conditions are arranged so that NaN falls through to the input or to arithmetic on it, and so
propagates. Number literals take the type that is computed in: for float32 input, ``0.5`` is a
float32.
"""
# mypy: disable-error-code="misc"

from __future__ import annotations

from fastact.catalogue.decorators import (
    activation,
    family,
    gated,
    joined,
    largest,
    randomized,
    rows,
    variants,
)
from fastact.catalogue.scalar import (
    bounded,
    constant,
    constant_low,
    exp,
    exp_difference_times,
    exp_sum_times,
    exp_times,
    expm1,
    fma,
    gelu_tanh_ratio,
    gelu_tanh_ratio_low,
    hyperbolic_tangent,
    log1p,
    logistic,
    logistic_density_times,
    logistic_product_slope,
    logistic_slope,
    logistic_tail_product,
    logistic_tail_times,
    normal_slope,
    normal_tail_product,
    product_low,
    quotient,
    quotient_of_product,
    quotient_squared,
    sigmoid_sum_times,
    sqrt,
    tanhshrink_rest,
)

# --- the ReLU family ----------------------------------------------------------------------------

family("piecewise")


@activation
class relu:
    """Rectified linear unit: max(x, 0).

    The derivative at 0 is 0, as in PyTorch. ``relu(-0.0)`` is ``0.0``.

    >>> fa.relu(np.array([-1.5, 0.0, 2.0]))
    array([0., 0., 2.])
    >>> fa.relu(np.array([-3, 4]))
    array([0, 4])
    """

    backward_doc = """Gradient of ``relu``: grad where x > 0, else 0, in one pass.

    What ``relu`` returned may be given as x: the result is the same.

    >>> grad, x = np.array([0.5, 0.5, 0.5]), np.array([-1.0, 0.0, 2.0])
    >>> fa.relu_backward(grad, x)
    array([0. , 0. , 0.5])
    >>> fa.relu_backward(grad, x, at_zero=1.0)
    array([0. , 0.5, 0.5])
    """
    about = ("the derivative at 0: PyTorch and most libraries take 0, some textbooks 1 or 1/2",)
    reference = (
        "Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, 2010"
    )
    idiom = "np.maximum(x, 0, out=out)"
    backward_idiom = "grad * (x > 0)"
    keeps_integers = True

    def formula(x):
        return 0 if x <= 0 else x

    def derivative(x, at_zero=0):
        return 1 if x > 0 else (at_zero if x == 0 else 0)

    def default_derivative(x):
        return 1 if x > 0 else 0


@activation
class relu6:
    """Rectified linear unit capped at 6: min(max(x, 0), 6).

    The derivative at 0 and at 6 is 0.

    >>> fa.relu6(np.array([-1.0, 3.0, 8.0]))
    array([0., 3., 6.])
    """

    reference = "Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010"
    idiom = "np.clip(x, 0, 6, out=out)"
    backward_idiom = "grad * ((x > 0) & (x < 6))"
    keeps_integers = True

    def formula(x):
        return 0 if x <= 0 else (6 if x >= 6 else x)

    def derivative(x):
        return 1 if (x > 0) & (x < 6) else 0


@activation
class clipped_relu:
    """Rectified linear unit with a cap: min(max(x, 0), max_value).

    The derivative at 0 and at ``max_value`` is 0.

    >>> fa.clipped_relu(np.array([-1.0, 3.0, 8.0]), max_value=4)
    array([0., 3., 4.])
    """

    about = ("the cap, not negative",)
    reference = "Hannun et al., Deep Speech: scaling up end-to-end speech recognition, 2014"
    idiom = "np.clip(x, 0, max_value, out=out)"
    backward_idiom = "grad * ((x > 0) & (x < max_value))"
    keeps_integers = True
    constraints = ((0, "max_value"),)

    def formula(x, max_value=6):
        return 0 if x <= 0 else (max_value if x >= max_value else x)

    def derivative(x, max_value):
        return 1 if (x > 0) & (x < max_value) else 0


@activation
class leaky_relu:
    """Leaky rectified linear unit: x where x > 0, else negative_slope * x.

    The derivative at 0 is ``negative_slope``, as in PyTorch.

    >>> fa.leaky_relu(np.array([-2.0, 0.0, 2.0]))
    array([-0.02,  0.  ,  2.  ])
    """

    about = ("slope where x is not positive",)
    reference = (
        "Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models, 2013"
    )
    idiom = "np.where(x > 0, x, negative_slope * x)"
    backward_idiom = "np.where(x > 0, grad, negative_slope * grad)"

    def formula(x, negative_slope=0.01):
        return x if x > 0 else negative_slope * x

    def derivative(x, negative_slope):
        return 1 if x > 0 else negative_slope


@activation
class prelu:
    """Parametric rectified linear unit: x where x > 0, else weight * x.

    ``weight`` is a number, or has one element for each channel of ``x``, or as many dimensions as
    ``x``, with which it broadcasts. The derivative at 0 is ``weight``, as in PyTorch.

    >>> fa.prelu(np.array([[-2.0, -2.0], [4.0, 4.0]]), np.array([0.5, 0.25]))
    array([[-1. , -0.5],
           [ 4. ,  4. ]])
    """

    backward_doc = """Gradient of ``prelu`` by x: grad where x > 0, else weight * grad, in one pass.

    ``fused.prelu_backward`` gives the gradient by the weight, too.

    >>> fa.prelu_backward(np.array([[1.0, 1.0]]), np.array([[-2.0, 4.0]]), 0.5)
    array([[0.5, 1. ]])
    """
    about = ("slope where x is not positive: a number, or one for each channel",)
    reference = "He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015, arXiv:1502.01852"
    idiom = "np.where(x > 0, x, weight * x)"
    backward_idiom = "np.where(x > 0, grad, weight * grad)"
    channels = True

    def formula(x, weight):
        return x if x > 0 else weight * x

    def derivative(x, weight):
        return 1 if x > 0 else weight


@randomized
class rrelu:
    """Randomized leaky rectified linear unit: x where x > 0, else slope * x.

    In training, each element has a slope of its own, drawn uniformly between ``lower`` and
    ``upper``. Otherwise the slope is their mean.

    >>> x = np.array([-1.0, -1.0, 2.0])
    >>> fa.rrelu(x, 0.25, 0.75)
    array([-0.5, -0.5,  2. ])
    >>> noise = np.empty_like(x)
    >>> y = fa.rrelu(x, training=True, rng=0, noise=noise)
    >>> bool(np.all(y == noise * x))
    True
    """

    backward_doc = """Gradient of ``rrelu``: grad where x > 0, else slope * grad, in one pass.

    ``noise`` has the slopes; without it, the slope is the mean of ``lower`` and ``upper``.

    >>> fa.rrelu_backward(np.array([1.0, 1.0]), np.array([-2.0, 4.0]), 0.25, 0.75)
    array([0.5, 1. ])
    """
    about = ("slope where x is not positive",)
    reference = "Xu, Wang, Chen and Li, Empirical evaluation of rectified activations in convolutional network, 2015, arXiv:1505.00853"
    idiom = "np.where(x > 0, x, slope * x)"
    backward_idiom = "np.where(x > 0, grad, slope * grad)"
    lower = 1 / 8
    upper = 1 / 3

    def formula(x, slope):
        return x if x > 0 else slope * x

    def derivative(x, slope):
        return 1 if x > 0 else slope


@activation
class threshold:
    """x where x > threshold, else value.

    The derivative at ``threshold`` is 0.

    >>> fa.threshold(np.array([-1.0, 0.5, 2.0]), 1, -9)
    array([-9., -9.,  2.])
    """

    about = ("inputs up to and including this one are replaced", "what they are replaced by")
    reference = "the generic form of the rectifiers, under PyTorch's name"
    idiom = "np.where(x > threshold, x, value)"
    backward_idiom = "grad * (x > threshold)"
    keeps_integers = True

    def formula(x, threshold, value):
        return value if x <= threshold else x

    def derivative(x, threshold, value):
        return 1 if x > threshold else 0


@activation
class thresholded_relu:
    """Thresholded rectified linear unit: x where x > alpha, else 0.

    The derivative at ``alpha`` is 0.

    >>> fa.thresholded_relu(np.array([-1.0, 0.5, 2.0]))
    array([0., 0., 2.])
    """

    about = ("inputs up to and including this one give 0",)
    reference = "Konda, Memisevic and Krueger, Zero-bias autoencoders, 2014, arXiv:1402.3337; ONNX"
    idiom = "np.where(x > alpha, x, 0)"
    backward_idiom = "grad * (x > alpha)"
    keeps_integers = True

    def formula(x, alpha=1):
        return 0 if x <= alpha else x

    def derivative(x, alpha):
        return 1 if x > alpha else 0


@activation
class squared_relu:
    """Squared rectified linear unit: max(x, 0) ** 2.

    Integers wrap around on overflow, as in NumPy's own arithmetic.

    >>> fa.squared_relu(np.array([-1.0, 0.5, 3.0]))
    array([0.  , 0.25, 9.  ])
    """

    reference = "So et al., Primer: searching for efficient transformers, 2021, arXiv:2109.08668"
    idiom = "np.square(np.maximum(x, 0, out=out), out=out)"
    backward_idiom = "grad * 2 * np.maximum(x, 0)"
    keeps_integers = True

    def formula(x):
        return 0 if x <= 0 else x * x

    def derivative(x):
        return 0 if x <= 0 else 2 * x


@activation
class hardtanh:
    """Identity, cut off at both ends: min(max(x, min_val), max_val).

    The derivative at ``min_val`` and at ``max_val`` is 0.

    >>> fa.hardtanh(np.array([-3.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """

    about = ("lower end", "upper end, not below min_val")
    reference = "Collobert, Large scale machine learning, 2004"
    idiom = "np.clip(x, min_val, max_val, out=out)"
    backward_idiom = "grad * ((x > min_val) & (x < max_val))"
    keeps_integers = True
    constraints = (("min_val", "max_val"),)

    def formula(x, min_val=-1, max_val=1):
        return min_val if x <= min_val else (max_val if x >= max_val else x)

    def derivative(x, min_val, max_val):
        return 1 if (x > min_val) & (x < max_val) else 0


@activation
class hardsigmoid:
    """Piecewise linear sigmoid: min(max(x + 3, 0), 6) / 6.

    The derivative at -3 and at 3 is 0.

    >>> fa.hardsigmoid(np.array([-4.0, 0.0, 1.5, 4.0]))
    array([0.  , 0.5 , 0.75, 1.  ])
    """

    reference = "Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244"
    idiom = "np.clip(x + 3, 0, 6, out=out) / 6"
    backward_idiom = "grad * ((x > -3) & (x < 3)) / 6"

    def formula(x):
        return 0 if x <= -3 else (1 if x >= 3 else (x + 3) / 6)

    def derivative(x):
        return 1 / 6 if (x > -3) & (x < 3) else 0


@activation
class hardswish:
    """Piecewise form of swish: x * min(max(x + 3, 0), 6) / 6.

    Exactly 0 up to -3 (also at minus infinity) and exactly x from 3 on. The derivative is 0 at -3
    and 1 at 3.

    >>> fa.hardswish(np.array([-4.0, -1.5, 0.0, 4.0]))
    array([ 0.   , -0.375,  0.   ,  4.   ])
    """

    reference = "Howard et al., Searching for MobileNetV3, 2019, arXiv:1905.02244"
    idiom = "x * np.clip(x + 3, 0, 6) / 6"
    backward_idiom = "grad * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5))"

    def formula(x):
        return 0 if x <= -3 else (x if x >= 3 else x * (x + 3) / 6)

    def derivative(x):
        return 0 if x <= -3 else (1 if x >= 3 else (2 * x + 3) / 6)


@activation
class hardshrink:
    """x where abs(x) > lambd, else 0.

    The derivative at ``-lambd`` and at ``lambd`` is 0.

    >>> fa.hardshrink(np.array([-1.0, 0.25, 0.75]))
    array([-1.  ,  0.  ,  0.75])
    """

    about = ("half the width of the interval that gives 0, not negative",)
    reference = "Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994"
    idiom = "np.where(np.abs(x) > lambd, x, 0)"
    backward_idiom = "grad * (np.abs(x) > lambd)"
    constraints = ((0, "lambd"),)

    def formula(x, lambd=0.5):
        return 0 if (x >= -lambd) & (x <= lambd) else x

    def derivative(x, lambd):
        return 1 if (x < -lambd) | (x > lambd) else 0


@activation
class softshrink:
    """x - lambd where x > lambd, x + lambd where x < -lambd, else 0.

    The derivative at ``-lambd`` and at ``lambd`` is 0.

    >>> fa.softshrink(np.array([-1.0, 0.25, 0.75]))
    array([-0.5 ,  0.  ,  0.25])
    """

    about = ("distance that inputs are moved towards 0, not negative",)
    reference = "Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994"
    idiom = "np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, 0))"
    backward_idiom = "grad * (np.abs(x) > lambd)"
    constraints = ((0, "lambd"),)

    def formula(x, lambd=0.5):
        moved = x - lambd if x > 0 else x + lambd
        return 0 if (x >= -lambd) & (x <= lambd) else moved

    def derivative(x, lambd):
        return 1 if (x < -lambd) | (x > lambd) else 0


@activation
class clipped_linear:
    """A line, cut off at both ends: min(max(slope * x + offset, min_val), max_val).

    With the defaults, the identity between 0 and 1. The derivative where the line meets an end
    is 0.

    >>> fa.clipped_linear(np.array([-1.0, 0.25, 4.0]), slope=0.5, offset=0.5)
    array([0.   , 0.625, 1.   ])
    """

    about = ("the line's slope", "its value at 0", "lower end", "upper end, not below min_val")
    reference = "Thinc's ClippedLinear, of which hard sigmoid and hard tanh are special cases"
    idiom = "np.clip(slope * x + offset, min_val, max_val, out=out)"
    backward_idiom = (
        "grad * slope * ((slope * x + offset > min_val) & (slope * x + offset < max_val))"
    )
    constraints = (("min_val", "max_val"),)

    def formula(x, slope=1, offset=0, min_val=0, max_val=1):
        line = slope * x + offset
        return min_val if line <= min_val else (max_val if line >= max_val else line)

    def derivative(x, slope, offset, min_val, max_val):
        line = slope * x + offset
        return slope if (line > min_val) & (line < max_val) else 0


@activation
class sparse_plus:
    """A ReLU with a parabola for a bend: 0, (x + 1)^2 / 4 between -1 and 1, then x.

    Its derivative is ``sparse_sigmoid``.

    >>> fa.sparse_plus(np.array([-2.0, 0.0, 3.0]))
    array([0.  , 0.25, 3.  ])
    """

    reference = "the integral of sparsemax of two numbers, under the name in JAX and Keras"
    idiom = "np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x))"
    backward_idiom = "grad * np.clip((x + 1) / 2, 0, 1)"

    def formula(x):
        half = 0.5 * (x + 1)
        return 0 if x <= -1 else (x if x >= 1 else half * half)

    def derivative(x):
        return 0 if x <= -1 else (1 if x >= 1 else 0.5 * (x + 1))


@activation
class sparse_sigmoid:
    """A line from 0 at x = -1 to 1 at x = 1, and constant beyond.

    The derivative at -1 and 1 is 0.

    >>> fa.sparse_sigmoid(np.array([-2.0, 0.0, 0.5]))
    array([0.  , 0.5 , 0.75])
    """

    reference = "sparsemax of two numbers, under the name in JAX and Keras"
    idiom = "np.clip((x + 1) / 2, 0, 1, out=out)"
    backward_idiom = "grad * 0.5 * (np.abs(x) < 1)"

    def formula(x):
        return 0 if x <= -1 else (1 if x >= 1 else 0.5 * (x + 1))

    def derivative(x):
        return 0.5 if (x > -1) & (x < 1) else 0


@joined
class crelu:
    """Concatenated rectified linear unit: relu(x) and relu(-x), one after the other along an axis.

    >>> fa.crelu(np.array([-1.0, 2.0]))
    array([0., 2., 1., 0.])
    """

    backward_doc = """Gradient of ``crelu``: what came back for relu(x), minus what came back for relu(-x).

    >>> fa.crelu_backward(np.array([1.0, 2.0, 3.0, 4.0]), np.array([-1.0, 2.0]))
    array([-3.,  2.])
    """
    reference = "Shang, Sohn, Almeida and Lee, Understanding and improving convolutional neural networks via concatenated rectified linear units, 2016, arXiv:1603.05201"
    idiom = "np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], -1, out=out)"
    backward_idiom = (
        "np.where(x > 0, grad[..., : x.shape[-1]], np.where(x < 0, -grad[..., x.shape[-1] :], 0))"
    )
    keeps_integers = True

    def first(x):
        return 0 if x <= 0 else x

    def second(x):
        return 0 if x >= 0 else -x

    def derivative(grad_first, grad_second, x):
        return grad_first if x > 0 else (-grad_second if x < 0 else 0)


# --- smooth activations -------------------------------------------------------------------------

family("smooth")


@activation
class elu:
    """Exponential linear unit: x where x > 0, else alpha * (e^x - 1).

    The derivative at 0 is ``alpha``, as in PyTorch.

    >>> fa.elu(np.array([-np.inf, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """

    about = ("the negative of the limit at minus infinity",)
    reference = "Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by exponential linear units, 2015, arXiv:1511.07289"
    idiom = "np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))"
    backward_idiom = "grad * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))"

    def formula(x, alpha=1):
        return x if x > 0 else alpha * expm1(x)

    def derivative(x, alpha):
        return 1 if x > 0 else exp_times(x, alpha)


@activation
class selu:
    """Scaled exponential linear unit: 1.0507 * (x where x > 0, else 1.6733 * (e^x - 1)).

    The constants, here rounded, are those with which activations keep mean 0 and variance 1.
    The derivative at 0 is that of the left side, 1.7581.

    >>> fa.selu(np.array([0.0, 1.0]))
    array([0.        , 1.05070099])
    """

    reference = "Klambauer, Unterthiner, Mayr and Hochreiter, Self-normalizing neural networks, 2017, arXiv:1706.02515"
    idiom = (
        "1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))"
    )
    backward_idiom = "grad * 1.0507009873554805 * np.where(x > 0, 1, 1.6732632423543772 * np.exp(np.minimum(x, 0)))"

    def formula(x):
        return (
            1.0507009873554804934193349852946 * x
            if x > 0
            else 1.7580993408473768599402175208123 * expm1(x)
        )

    def derivative(x):
        return (
            1.0507009873554804934193349852946
            if x > 0
            else exp_times(x, 1.7580993408473768599402175208123)
        )


@activation
class celu:
    """Continuously differentiable exponential linear unit: x where x > 0, else alpha * (e^(x/alpha) - 1).

    >>> fa.celu(np.array([-np.inf, 0.0, 2.0]), alpha=0.5)
    array([-0.5,  0. ,  2. ])
    """

    about = ("the negative of the limit at minus infinity, not 0",)
    reference = (
        "Barron, Continuously differentiable exponential linear units, 2017, arXiv:1704.07483"
    )
    idiom = "np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))"
    backward_idiom = "grad * np.where(x > 0, 1, np.exp(np.minimum(x, 0) / alpha))"

    def formula(x, alpha=1):
        return x if x > 0 else alpha * expm1(x / alpha)

    def derivative(x, alpha):
        z = bounded(x / alpha, 1000)
        low = 0 if z < -900 else -product_low(z, alpha, x) / alpha
        return 1 if x > 0 else exp_sum_times(z, low, 1)

    def default_derivative(x):
        return 1 if x > 0 else exp_times(x, 1)


@variants
class gelu:
    """Gaussian error linear unit: x * Phi(x), Phi being the normal distribution's function.

    ``approximate="tanh"`` gives x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))). It is no
    faster here: it is for networks that were trained with it.

    >>> fa.gelu(np.array([-np.inf, 0.0, 100.0]))
    array([ -0.,   0., 100.])
    """

    backward_doc = """Gradient of ``gelu``: grad * (Phi(x) + x * phi(x)), phi being the normal density.

    >>> fa.gelu_backward(np.array([2.0, 2.0, 2.0]), np.array([-np.inf, 0.0, np.inf]))
    array([0., 1., 2.])
    """
    parameter = "approximate"
    about = "the approximation, if one is wanted"
    reference = "Hendrycks and Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415"
    idiom = "0.5 * x * (1 + scipy.special.erf(x / np.sqrt(2)))"

    class none:
        idiom = "0.5 * x * (1 + special.erf(x / 2**0.5))"
        backward_idiom = (
            "(0.5 * (1 + special.erf(x / 2**0.5))"
            " + x * np.exp(-0.5 * x * x) / (2 * np.pi) ** 0.5) * grad"
        )

        def formula(x):
            tail = normal_tail_product(abs(x))
            return (-0.0 if x < -0.0 else x) - tail

        def derivative(x):
            slope = normal_slope(abs(x))
            return 1 - slope if x > 0 else slope

    class tanh:
        # x / (1 + e^-z), z = sqrt(8 / pi) * (x + 0.044715 * x^3)
        idiom = "0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))"
        backward_idiom = (
            "(0.5 * (1 + (t := np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))))"
            " + 0.5 * x * (1 - t * t) * (2 / np.pi) ** 0.5 * (1 + 0.134145 * x * x)) * grad"
        )

        def formula(x):
            t = abs(x)
            inside = 30 if t > 30 else t
            ratio = gelu_tanh_ratio(inside)
            z = inside * ratio
            low = fma(inside, gelu_tanh_ratio_low(inside), product_low(inside, ratio, z))
            tail = logistic_tail_times(z, low, inside)
            return (-0.0 if x < -0.0 else x) - tail

        def derivative(x):
            t = abs(x)
            inside = 30 if t > 30 else t
            ratio = gelu_tanh_ratio(inside)
            ratio_low = gelu_tanh_ratio_low(inside)
            z = inside * ratio
            low = fma(inside, ratio_low, product_low(inside, ratio, z))
            twice = 2 * (ratio - constant("1.59576912160573071175978"))
            growth = ratio + twice
            growth_low = (ratio - growth) + twice + 3 * ratio_low
            u = inside * growth
            u_low = fma(inside, growth_low, product_low(inside, growth, u))
            slope = logistic_slope(z, low, u, 1 - u_low)
            return 1 - slope if x > 0 else slope


@activation
class quick_gelu:
    """The approximation of gelu by a sigmoid: x / (1 + e^(-1.702 * x)).

    >>> fa.quick_gelu(np.array([-np.inf, 0.0, 100.0]))
    array([ -0.,   0., 100.])
    """

    reference = "Hendrycks and Gimpel, Gaussian error linear units, 2016, arXiv:1606.08415"
    idiom = "x / (1 + np.exp(-1.702 * x))"
    backward_idiom = "(s := 1 / (1 + np.exp(-1.702 * x))) * (1 + 1.702 * x * (1 - s)) * grad"

    def formula(x):
        t = abs(x)
        inside = 1000 if t > 1000 else t
        z = constant("1.702") * inside
        low = product_low(constant("1.702"), inside, z) + constant_low("1.702") * inside
        tail = logistic_tail_times(z, low, inside)
        return (-0.0 if x < -0.0 else x) - tail

    def derivative(x):
        t = abs(x)
        inside = 1000 if t > 1000 else t
        z = constant("1.702") * inside
        low = product_low(constant("1.702"), inside, z) + constant_low("1.702") * inside
        slope = logistic_slope(z, low, z, 1 - low)
        return 1 - slope if x > 0 else slope


@activation
class silu:
    """Sigmoid linear unit, also called swish: x / (1 + e^-x).

    >>> fa.silu(np.array([-np.inf, 0.0, 100.0]))
    array([ -0.,   0., 100.])
    """

    aliases = ("swish",)
    reference = "Elfwing, Uchibe and Doya, Sigmoid-weighted linear units, 2017, arXiv:1702.03118; Ramachandran, Zoph and Le, Searching for activation functions, 2017, arXiv:1710.05941"
    idiom = "x / (1 + np.exp(-x))"
    backward_idiom = "(s := 1 / (1 + np.exp(-x))) * (1 + x * (1 - s)) * grad"

    def formula(x):
        return (-0.0 if x < -0.0 else x) - logistic_tail_product(abs(x))

    def derivative(x):
        slope = logistic_product_slope(abs(x))
        return 1 - slope if x > 0 else slope


@activation
class mish:
    """x * tanh(softplus(x)) = x * tanh(log(1 + e^x)).

    >>> fa.mish(np.array([-np.inf, 0.0, 100.0]))
    array([ -0.,   0., 100.])
    """

    reference = (
        "Misra, Mish: a self regularized non-monotonic activation function, 2019, arXiv:1908.08681"
    )
    idiom = "x * np.tanh(np.log1p(np.exp(x)))"
    backward_idiom = (
        "((t := np.tanh(np.log1p(np.exp(x)))) + x / (1 + np.exp(-x)) * (1 - t * t)) * grad"
    )

    def formula(x):
        # tanh(log(1 + e)) = n / (n + 2) = e (1 - e (e + 1) / (n + 2)), n = e (e + 2).
        below = 20 if x > 20 else x
        e = exp(below)
        n = fma(e, e, 2 * e)
        b = n + 2
        low = (2 - b) + n if n < 2 else (n - b) + 2
        y = bounded(x, 1000)
        near = quotient_of_product(y, n, b, low)
        far = exp_times(below, fma(-y, e * (e + 1) / b, y))
        return x if (x > 20) | (x == 0) else (near if x > -1 else far)

    def derivative(x):
        below = 20 if x > 20 else x
        e = exp(below)
        n = fma(e, e, 2 * e)
        b = n + 2
        n_low = fma(e, e, 2 * e - n)
        low = ((2 - b) + n if n < 2 else (n - b) + 2) + n_low
        # (e + 2) (n + 2) + 4 x (1 + e), over (n + 2)^2
        y = 4 * bounded(x, 1000)
        top = fma(fma(e + 4, e, 6 + y), e, 4 + y)
        near = quotient_of_product(e, quotient(top, b, low), b, low)
        # The same as 1 minus something, which is small where x is positive.
        above = 1 + (y * fma(e, e, e) - 2 * b) / (b * b)
        # Below, e is next to nothing, and what it is multiplied by 1 + x.
        far = exp_times(below, fma(0.25, y, 1))
        close = above if x > 0 else near
        return 1 if x > 20 else (close if x > -80 else far)


@activation
class softplus:
    """log(1 + e^(beta * x)) / beta, and x itself where beta * x > threshold.

    >>> fa.softplus(np.array([-np.inf, 1000.0]))
    array([   0., 1000.])
    """

    about = ("sharpness of the bend, not 0", "of beta * x, from where on the result is x")
    reference = "Dugas et al., Incorporating second-order functional knowledge for better option pricing, 2000; PyTorch's form"
    idiom = "np.logaddexp(0, beta * x) / beta"
    backward_idiom = "grad / (1 + np.exp(-beta * x))"

    def formula(x, beta=1, threshold=20):
        z = bounded(beta * x, 1000)
        low = 0 if abs(z) > 900 else product_low(beta, x, z)
        e = exp_sum_times(-abs(z), -low if z > 0 else low, 1)
        positive = z if z > 0 else 0
        rest = log1p(e)
        larger = positive if positive > rest else rest
        smaller = rest if positive > rest else positive
        total = larger + smaller
        total_low = (larger - total) + smaller + (low if z > 0 else 0)
        q = total / beta
        return x if z > threshold else q + (total_low - product_low(q, beta, total)) / beta

    def default_formula(x):
        positive = x if x > 0 else 0
        return x if x > 20 else positive + log1p(exp(-abs(x)))

    def derivative(x, beta, threshold):
        z = bounded(beta * x, 1000)
        low = 0 if abs(z) > 900 else product_low(beta, x, z)
        return 1 if z > threshold else sigmoid_sum_times(z, low, 1)

    def default_derivative(x):
        return 1 if x > 20 else logistic(x)


@activation
class squareplus:
    """(x + sqrt(x^2 + b)) / 2.

    >>> fa.squareplus(np.array([-np.inf, 0.0, 1.5]))
    array([0., 1., 2.])
    """

    about = ("how wide the bend is, not negative: 4 times the square of the value at 0",)
    reference = "Barron, Squareplus: a softplus-like algebraic rectifier, 2021, arXiv:2112.11687"
    idiom = "(x + np.sqrt(x * x + b)) / 2"
    backward_idiom = "grad * (1 + x / np.sqrt(x * x + b)) / 2"
    constraints = ((0, "b"),)

    def formula(x, b=4):
        t = abs(bounded(x, 1e15))
        square = fma(t, t, b)
        root = sqrt(square)
        # Where x is negative, its sum with the root would cancel.
        total = root + t
        low = (root - total) + t - 0.5 * product_low(root, root, square) / total
        falling = 0.5 * quotient(b, total, low)
        rising = x if x > 1e15 else 0.5 * total
        return rising if x >= 0 else (0.25 * b / abs(x) if x < -1e15 else falling)

    def derivative(x, b):
        t = abs(x)
        near = abs(bounded(x, 1e15))
        root = sqrt(near * near + b)
        rising = 0.5 + 0.5 * (near / root)
        falling = 0.5 * b / (near * near + b + root * near)
        return rising if x > 0 else (0.25 * b / t / t if t > 1e15 else falling)


@activation
class sigmoid:
    """1 / (1 + e^-x).

    >>> fa.sigmoid(np.array([-np.inf, 0.0, 100.0]))
    array([0. , 0.5, 1. ])
    """

    reference = "Han and Moraga, The influence of the sigmoid function parameters on the speed of backpropagation learning, 1995"
    idiom = "1 / (1 + np.exp(-x))"
    backward_idiom = "(s := 1 / (1 + np.exp(-x))) * (1 - s) * grad"

    def formula(x):
        return logistic(x)

    def derivative(x):
        return logistic_density_times(abs(x), 1)

    def derivative_from_output(y):
        return y * (1 - y)


@activation
class log_sigmoid:
    """log(1 / (1 + e^-x)).

    >>> fa.log_sigmoid(np.array([-1000.0, np.inf]))
    array([-1000.,    -0.])
    """

    aliases = ("logsigmoid",)
    reference = "the logarithm of sigmoid, under PyTorch's name"
    idiom = "-np.logaddexp(0, -x)"
    backward_idiom = "grad / (1 + np.exp(x))"

    def formula(x):
        rest = log1p(exp(-abs(x)))
        return -rest if x > 0 else x - rest

    def derivative(x):
        return logistic(-x)


@activation
class tanh:
    """Hyperbolic tangent.

    >>> fa.tanh(np.array([-np.inf, 0.0, 100.0]))
    array([-1.,  0.,  1.])
    """

    reference = "LeCun, Bottou, Orr and Müller, Efficient backprop, 1998"
    idiom = "np.tanh(x, out=out)"
    backward_idiom = "grad * (1 - np.tanh(x) ** 2)"

    def formula(x):
        return hyperbolic_tangent(x)

    def derivative(x):
        return logistic_density_times(2 * abs(x), 4)

    def derivative_from_output(y):
        return (1 - y) * (1 + y)


@activation
class tanhshrink:
    """x - tanh(x).

    >>> fa.tanhshrink(np.array([-np.inf, 0.0, 100.0]))
    array([-inf,   0.,  99.])
    """

    reference = "the shrinkage function of tanh, under PyTorch's name"
    idiom = "x - np.tanh(x)"
    backward_idiom = "grad * np.tanh(x) ** 2"

    def formula(x):
        t = abs(x)
        inside = bounded(x, 1)
        square = inside * inside
        cube = inside * square
        cube_low = product_low(inside, square, cube) + inside * product_low(inside, inside, square)
        third = constant("0.333333333333333333333333333333")
        third_low = constant_low("0.333333333333333333333333333333")
        rest = fma(square, tanhshrink_rest(square), third_low)
        small = fma(cube, third, fma(cube, rest, cube_low * (third + rest)))
        large = (t - 1) + 2 / (exp(bounded(2 * t, 43)) + 1)
        return x if x == 0 else small if t < 1 else (large if x > 0 else -large)

    def derivative(x):
        e = expm1(2 * abs(bounded(x, 30)))
        b = e + 2
        return quotient_squared(e, b, (2 - b) + e if e < 2 else (e - b) + 2)


@activation
class softsign:
    """x / (1 + abs(x)).

    >>> fa.softsign(np.array([-np.inf, 0.0, 3.0]))
    array([-1.  ,  0.  ,  0.75])
    """

    reference = (
        "Turian, Bergstra and Bengio, Quadratic features and deep architectures for chunking, 2009"
    )
    idiom = "x / (1 + np.abs(x))"
    backward_idiom = "grad / (1 + np.abs(x)) ** 2"

    def formula(x):
        inside = bounded(x, 1e30)
        return inside / (1 + abs(inside))

    def derivative(x):
        q = 1 / (1 + abs(x))
        return q * q


@activation
class dish:
    """x / 2 * (1 + x / sqrt(1 + x^2)): like swish, without an exponential.

    >>> fa.dish(np.array([-np.inf, 0.0, np.inf]))
    array([-0.,  0., inf])
    """

    reference = "Thinc's Dish"
    idiom = "0.5 * x * (x / np.sqrt(1 + x * x) + 1)"
    backward_idiom = "grad * (0.5 + 0.5 * x / np.sqrt(1 + x * x) * (1 + 1 / (1 + x * x)))"

    def formula(x):
        # In a form without cancellation for negative x: x / 2 / (1 + x^2 + abs(x) sqrt(1 + x^2)).
        t = abs(bounded(x, 1e15))
        s = t * t
        square = 1 + s
        larger = s if s > 1 else 1
        square_low = (larger - square) + (s + 1 - larger) + product_low(t, t, s)
        root = sqrt(square)
        root_low = 0.5 * (square_low - product_low(root, root, square)) / root
        product = t * root
        total = square + product
        low = (square - total) + product + square_low
        low = low + product_low(t, root, product) + t * root_low
        falling = 0.25 / abs(x) if abs(x) > 1e15 else quotient(0.5 * t, total, low)
        return x if x == 0 else (x - falling if x > 0 else -falling)

    def derivative(x):
        t = abs(x)
        square = 1 + x * x
        w = 1 / square
        w_low = -(product_low(w, square, 1) + w * fma(x, x, 1 - square)) * w
        ratio = x / sqrt(square)
        odd = fma(ratio, w, ratio)
        # Where x is negative and large, 1 + odd would cancel.
        factor = fma(w, 1 + w, -1) + w_low * (1 + 2 * w)
        b = 1 - odd
        falling = quotient(fma(factor, w, factor * w_low), b, (1 - b) - odd)
        far = t if t > 1e9 else 1
        beyond = 1 if x > 0 else -0.25 / far / far
        return beyond if t > 1e9 else 0.5 * (1 + odd if x > -0.4 else falling)


# --- gated linear units -------------------------------------------------------------------------

family("gated")

_VARIANTS = "Shazeer, GLU variants improve transformer, 2020, arXiv:2002.05202"


@gated
class reglu:
    """ReLU-gated linear unit: relu(gate) * up.

    >>> fa.reglu(np.array([-1.0, 2.0]), np.array([3.0, 3.0]))
    array([0., 6.])
    """

    activation = "relu"
    reference = _VARIANTS
    idiom = "np.maximum(gate, 0) * up"
    backward_idiom = "grad * up * (gate > 0), grad * np.maximum(gate, 0)"


@gated
class geglu:
    """GELU-gated linear unit: gelu(gate) * up.

    >>> fa.geglu(np.array([-np.inf, 0.0, 100.0]), np.array([3.0, 3.0, 3.0]))
    array([ -0.,   0., 300.])
    """

    activation = "gelu"
    reference = _VARIANTS
    idiom = "0.5 * gate * (1 + special.erf(gate / 2**0.5)) * up"
    backward_idiom = (
        "grad * up * ((p := 0.5 * (1 + special.erf(gate / 2**0.5)))"
        " + gate * np.exp(-0.5 * gate * gate) / (2 * np.pi) ** 0.5), grad * gate * p"
    )


@gated
class swiglu:
    """SiLU-gated linear unit: silu(gate) * up.

    >>> fa.swiglu(np.array([-np.inf, 0.0, 100.0]), np.array([3.0, 3.0, 3.0]))
    array([ -0.,   0., 300.])
    """

    activation = "silu"
    reference = _VARIANTS
    idiom = "gate / (1 + np.exp(-gate)) * up"
    backward_idiom = (
        "grad * up * (s := 1 / (1 + np.exp(-gate))) * (1 + gate * (1 - s)), grad * gate * s"
    )


@gated
class glu:
    """Gated linear unit: a * sigmoid(b), a and b being the halves of x along an axis.

    The halves are in PyTorch's order.

    >>> fa.glu(np.array([3.0, 4.0, 0.0, 100.0]))
    array([1.5, 4. ])
    """

    backward_doc = """Gradient of ``glu``, of x's shape: both halves in one pass.

    >>> fa.glu_backward(np.array([2.0]), np.array([4.0, 0.0]))
    array([1., 2.])
    """
    activation = "sigmoid"
    halves = True
    reference = "Dauphin, Fan, Auli and Grangier, Language modeling with gated convolutional networks, 2017, arXiv:1612.08083"
    idiom = "(a := x[..., : x.shape[-1] // 2]) / (1 + np.exp(-x[..., x.shape[-1] // 2 :]))"
    backward_idiom = (
        "np.concatenate([grad * (s := 1 / (1 + np.exp(-x[..., x.shape[-1] // 2 :]))),"
        " grad * x[..., : x.shape[-1] // 2] * s * (1 - s)], -1)"
    )


# --- rows ---------------------------------------------------------------------------------------

family("rows")


@rows
class softmax:
    """Softmax along an axis: e^x / sum(e^x).

    No x is too large: what is computed is e^(x - max(x)). A row that has NaN or inf, or nothing but
    -inf, gives NaN, as in PyTorch; other rows do not. Sums are kept in float64; the order of
    additions does not depend on the number of threads.

    >>> fa.softmax(np.array([1000.0, 1000.0, -np.inf]))
    array([0.5, 0.5, 0. ])
    """

    backward_doc = """Gradient of ``softmax``, given its *output* y: y * (grad - sum(grad * y)).

    Where y is 0 the result is 0 and ``grad`` does not matter, even if it is infinite or NaN: so it
    is with masked positions.

    >>> fa.softmax_backward(np.array([1.0, 0.0, np.nan]), np.array([0.5, 0.5, 0.0]))
    array([ 0.25, -0.25,  0.  ])
    """
    reference = (
        "Bridle, Probabilistic interpretation of feedforward classification network outputs, 1990"
    )
    idiom = "(e := np.exp(x - x.max(-1, keepdims=True))) / e.sum(-1, keepdims=True)"
    backward_idiom = "y * (grad - (grad * y).sum(-1, keepdims=True))"
    total = "inverse"
    keeps_term = True

    def term(x, top):
        return exp_difference_times(x, top, 1)

    def result(term, inverse, inverse_low):
        return fma(term, inverse, term * inverse_low)

    class backward:
        total = "sum"

        def term(grad, y):
            return grad * y if y != 0 else 0

        def result(grad, y, total, total_low):
            return y * ((grad - total) - total_low) if y != 0 else 0


@rows
class log_softmax:
    """Logarithm of softmax along an axis: x - log(sum(e^x)).

    Also accurate where a result is close to 0, because one element outweighs all others. A row that
    has NaN or inf, or nothing but -inf, gives NaN, as in PyTorch; other rows do not.

    >>> fa.log_softmax(np.array([0.0, -50.0, -np.inf]))
    array([-1.92874985e-22, -5.00000000e+01,            -inf])
    """

    backward_doc = """Gradient of ``log_softmax``, given its *output* y: grad - e^y * sum(grad).

    >>> fa.log_softmax_backward(np.array([1.0, 0.0]), np.log(np.array([0.25, 0.75])))
    array([ 0.75, -0.75])
    """
    reference = "the logarithm of softmax, under PyTorch's name"
    idiom = "(d := x - x.max(-1, keepdims=True)) - np.log(np.exp(d).sum(-1, keepdims=True))"
    backward_idiom = "grad - np.exp(y) * grad.sum(-1, keepdims=True)"
    total = "logarithm"

    def term(x, top):
        return exp_difference_times(x, top, 1)

    def result(x, logarithm, logarithm_low):
        return (x - logarithm) - logarithm_low

    class backward:
        total = "sum"

        def term(grad, y):
            return grad

        def result(grad, y, total, total_low):
            e = exp(y)
            return fma(-e, total, grad) - e * total_low


@largest
class maxout:
    """Maxout: the largest element of each row along an axis, and where it is.

    Of equal elements the first one counts; NaN is larger than anything else, as for ``np.argmax``.
    Layers that take the maximum over groups of channels call it with ``x`` reshaped to
    (..., units, pieces).

    >>> fa.maxout(np.array([[1.0, 3.0, 2.0], [0.0, -1.0, 0.0]]))
    (array([3., 0.]), array([1, 0]))
    """

    backward_doc = """Gradient of ``maxout``: grad where the largest element was, 0 elsewhere.

    >>> fa.maxout_backward(np.array([1.0, 2.0]), np.array([1, 0]), pieces=3)
    array([[0., 1., 0.],
           [2., 0., 0.]])
    """
    reference = "Goodfellow, Warde-Farley, Mirza, Courville and Bengio, Maxout networks, 2013, arXiv:1302.4389"
    idiom = "x.max(-1), x.argmax(-1)"
    backward_idiom = (
        "np.where(np.arange(pieces) == indices[..., np.newaxis], grad[..., np.newaxis], 0)"
    )
