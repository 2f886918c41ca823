"""
A network in NumPy, made fast step by step
==========================================

Here is a network that reads handwritten digits, as one writes it in NumPy.
Four steps make it faster and smaller: functions that do in one pass what
the idioms do in several, whole layers in one pass, another activation, and
memory that is used again. After each step we look at three things: is it
still the same network, how long does a step of training take, and how much
memory does it need at once?
"""

import itertools
import json
import statistics
import sys
import textwrap
import time
import tracemalloc
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastact as fa

# %%
# The data
# --------
#
# scikit-learn comes with 1797 images of 8 x 8 pixels. A quarter of them is
# kept back: the network is judged by digits that it has never seen. Pixels
# are centred.

images, digits = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32)
x, unseen_x, labels, unseen_labels = train_test_split(
    images, digits, test_size=0.25, random_state=0, stratify=digits
)
mean = x.mean(axis=0)
x -= mean
unseen_x -= mean
print(x.shape, unseen_x.shape)

# %%
# The idioms
# ----------
#
# Four hidden layers of 128 units with ReLU, and a last layer with a score
# for each digit. A step of gradient descent looks at all images at once.
# What matters here are ``layer``, its gradient ``layer_backward``, and
# ``loss``: these three are what the later versions replace. ``layer``
# returns its output and what its gradient needs, which for ReLU is that
# same output.

SIZES = [64, 128, 128, 128, 128, 10]


class Network:
    """With NumPy's idioms."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        shapes = list(itertools.pairwise(SIZES))
        self.weights = [
            rng.normal(0, np.sqrt(2 / rows), (rows, columns)).astype(
                np.float32
            )
            for rows, columns in shapes
        ]
        self.biases = [
            np.zeros(columns, np.float32) for _, columns in shapes
        ]

    def layer(self, x, weight, bias):
        y = np.maximum(x @ weight + bias, 0)
        return y, y

    def layer_backward(self, grad, y):
        dz = grad * (y > 0)
        return dz, dz.sum(axis=0)

    def loss(self, scores, labels):
        """The mean cross entropy, and its gradient by the scores."""
        rows = np.arange(len(labels))
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        grad = powers / powers.sum(axis=1, keepdims=True)
        loss = -np.log(grad[rows, labels]).mean()
        grad[rows, labels] -= 1
        return loss, grad / len(labels)

    def forward(self, x):
        """The scores; what goes into each layer; what gradients need."""
        inputs, kept = [x], []
        for weight, bias in zip(
            self.weights[:-1], self.biases[:-1], strict=True
        ):
            y, keep = self.layer(inputs[-1], weight, bias)
            inputs.append(y)
            kept.append(keep)
        return inputs[-1] @ self.weights[-1] + self.biases[-1], inputs, kept

    def step(self, x, labels, rate=0.2):
        """A step of gradient descent; the loss before it."""
        scores, inputs, kept = self.forward(x)
        loss, grad = self.loss(scores, labels)
        by_bias = grad.sum(axis=0)
        while inputs:
            weight, bias = (
                self.weights[len(inputs) - 1],
                self.biases[len(inputs) - 1],
            )
            by_weight = inputs.pop().T @ grad
            if kept:
                below = grad @ weight.T
            weight -= rate * by_weight
            bias -= rate * by_bias
            if kept:
                grad, by_bias = self.layer_backward(below, kept.pop())
        return float(loss)

    def accuracy(self, x, labels):
        return np.mean(self.forward(x)[0].argmax(axis=1) == labels)


def trained(kind, steps=100):
    network = kind()
    network.losses = [network.step(x, labels) for _ in range(steps)]
    accuracy = network.accuracy(unseen_x, unseen_labels)
    first, last = network.losses[0], network.losses[-1]
    print(f"loss {first:.4f} -> {last:.4f}, {accuracy:.1%} right")
    return network


idioms = trained(Network)

# %%
# That works. But ``np.maximum(x @ weight + bias, 0)`` makes three arrays
# where one is needed, and ``grad * (y > 0)`` makes one of truth values
# first. Each is another walk through memory on one core, and each needs
# memory to walk through.
#
# Step 1: functions
# -----------------
#
# ``fa.relu_`` writes its result over its argument, which nobody needs any
# more. ``fa.relu_backward`` does comparison and product in one pass, and
# puts the result in the place of the incoming gradient.


class WithFunctions(Network):
    def layer(self, x, weight, bias):
        y = fa.relu_(x @ weight + bias)
        return y, y

    def layer_backward(self, grad, y):
        dz = fa.relu_backward(grad, y, out=grad)
        return dz, dz.sum(axis=0)


def same_bits(one, other):
    pairs = zip(
        one.weights + one.biases, other.weights + other.biases, strict=True
    )
    return all(np.array_equal(a, b) for a, b in pairs)


functions = trained(WithFunctions)
print("same bits as the idioms:", same_bits(functions, idioms))

# %%
# The weights are the same to the last bit after a hundred steps: ReLU is
# exact, in NumPy and here.
#
# Step 2: whole layers
# --------------------
#
# Around the matrix product, a layer adds a bias and applies the activation.
# Backward it applies the derivative and sums columns for the bias'
# gradient. ``fastact.fused`` has both as one pass each, and
# ``fastact.losses`` loss and gradient of the scores.


class Fused(Network):
    def layer(self, x, weight, bias):
        z = x @ weight
        y = fa.fused.bias_act(z, bias, "relu", out=z)
        return y, y

    def layer_backward(self, grad, y):
        return fa.fused.bias_act_backward(grad, y, out=grad)

    def loss(self, scores, labels):
        return fa.losses.cross_entropy_with_grad(scores, labels, out=scores)


fused = trained(Fused)
print("same bits as the idioms:", same_bits(fused, idioms))
apart = max(
    abs(a - b) / b for a, b in zip(fused.losses, idioms.losses, strict=True)
)
print("losses agree to three digits:", apart < 1e-3)

# %%
# Not the same bits now, and nobody promised that: the bias' gradient is a
# sum of 1347 numbers, and here it is added up in another order (the same
# one for any number of threads). Training makes such differences larger,
# from seven digits to four or so over a hundred steps, as it would with
# another version of NumPy.
#
# Step 3: another activation
# --------------------------
#
# ReLU is the one activation for which NumPy's idiom is cheap. Take SiLU,
# which most language models have today. Its idioms take an exponential each
# way, and half a dozen temporary arrays:


class Silu(Network):
    def layer(self, x, weight, bias):
        z = x @ weight + bias
        return z / (1 + np.exp(-z)), z

    def layer_backward(self, grad, z):
        s = 1 / (1 + np.exp(-z))
        dz = grad * s * (1 + z * (1 - s))
        return dz, dz.sum(axis=0)


class FusedSilu(Fused):
    def layer(self, x, weight, bias):
        z = x @ weight
        return fa.fused.bias_act(z, bias, "silu"), (z, bias)

    def layer_backward(self, grad, saved):
        z, bias = saved
        return fa.fused.bias_act_backward(grad, z, "silu", bias, out=grad)


silu = trained(Silu)
fused_silu = trained(FusedSilu)

# %%
# Step 4: memory that is used again
# ---------------------------------
#
# Each step of training makes the same arrays again and gives them back in
# the end. The system takes the memory back, and hands it over anew, page by
# page, the next time. ``fastact.memory`` keeps it for the next array of
# that size. One line does it for all of NumPy, and changes no result:

with fa.memory.recycling():
    recycled = trained(Fused)
    print("some memory was used again:", fa.memory.stats().reused > 0)
print("same bits as without:", same_bits(recycled, fused))

# %%
# What each step gained
# ---------------------
#
# Times differ from run to run and from machine to machine, so this page
# does not measure while it is built: everything above was executed for it,
# and the bars below come from a file that the script itself writes when it
# is run as ``python plot_numpy_network.py --measure``, or where it finds no
# such file. The versions take turns in one process, on one thread, and what
# is counted is the time that the process has the CPU, so that other
# programs on the machine count for little.
#
# *Peak memory* is the most that a step of training has at once, as
# ``tracemalloc`` counts. A *page fault* is the system handing over 4 KiB of
# memory at their first use.

VERSIONS = {
    "ReLU, idioms": (Network, False),
    "ReLU, functions": (WithFunctions, False),
    "ReLU, fused": (Fused, False),
    "ReLU, fused, recycled memory": (Fused, True),
    "SiLU, idioms": (Silu, False),
    "SiLU, fused": (FusedSilu, False),
    "SiLU, fused, recycled memory": (FusedSilu, True),
}
MEASURED = Path("numpy_network.json")


def measure(rounds=40, steps=2):
    """Write ``MEASURED``: the shortest time that each version took."""
    import resource

    from threadpoolctl import threadpool_limits

    from fastact.benchmark.results import Run
    from fastact.benchmark.table import conditions

    def page_faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    fa.set_num_threads(1)
    threadpool_limits(1)
    networks = {name: kind() for name, (kind, _) in VERSIONS.items()}
    found = {name: {"ms": [], "faults": []} for name in VERSIONS}
    for _ in range(rounds):
        for name, (_, with_recycling) in VERSIONS.items():
            if with_recycling:
                fa.memory.enable()
            networks[name].step(
                x, labels
            )  # not measured: what was cold gets warm
            faults, start = page_faults(), time.process_time()
            for _ in range(steps):
                networks[name].step(x, labels)
            found[name]["ms"].append(
                1e3 * (time.process_time() - start) / steps
            )
            found[name]["faults"].append((page_faults() - faults) / steps)
            fa.memory.disable()
    results = {}
    for name, network in networks.items():
        tracemalloc.start()
        network.step(x, labels)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        results[name] = {
            "ms": round(min(found[name]["ms"]), 2),
            "faults": statistics.median(found[name]["faults"]),
            "peak_mb": round(peak / 1e6, 2),
        }
    run = Run.begin()
    about = {
        "machine": conditions(run),
        "date": run.started.partition("T")[0],
    }
    MEASURED.write_text(
        json.dumps(about | {"versions": results}, indent=1) + "\n"
    )


if "--measure" in sys.argv[1:] or not MEASURED.exists():
    measure()

measured = json.loads(MEASURED.read_text())
about = f"Measured on {measured['date']}: {measured['machine']}"
print(textwrap.fill(about, 72))

places = [0, 1, 2, 3, 4.6, 5.6, 6.6]
titles = {
    "ms": "CPU time of a step, ms",
    "peak_mb": "peak memory, MB",
    "faults": "page faults in a step",
}
figure, panels = plt.subplots(
    3, 1, figsize=(6.2, 7.5), layout="constrained"
)
for panel, (key, title) in zip(panels, titles.items(), strict=True):
    values = [measured["versions"][name][key] for name in VERSIONS]
    bars = panel.barh(places, values, color=["C0"] * 4 + ["C1"] * 3)
    places_shown = 0 if max(values) >= 100 else 1
    panel.bar_label(
        bars, [f"{v:.{places_shown}f}" for v in values], padding=3
    )
    panel.set(title=title, xlim=(0, 1.15 * max(values)), xticks=[])
    panel.set_yticks(places, VERSIONS)
    panel.invert_yaxis()
    panel.spines[["top", "right", "bottom"]].set_visible(False)
plt.show()

# %%
# With ReLU, the matrix products are most of the work, and nothing here
# makes those faster; what was around them became little, mostly by the
# memory that need not be asked for. With SiLU the idioms around the
# products cost more than the products, and fused with recycled memory it
# takes less time than ReLU took in idioms. The peak is lower because
# temporary arrays are gone. What recycling retains between steps comes on
# top of it: those arrays that the next step will want.
#
# From here, ``fastact rewrite`` finds the idioms in code that you have
# (:doc:`/rewrite`), :doc:`/fused` has layers with masks of one bit, and
# :doc:`/memory` says what recycling does with threads and forks.
