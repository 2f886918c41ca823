"""
Why units die, and what helps
=============================

A ReLU passes on what is positive, and nothing else; nor does it pass a
gradient back where its input was negative. A unit whose input is negative
for *every* sample therefore gets no gradient at all: its weights do not
change, and it stays like that. It is *dead* [1]_.

This page counts dead units while networks learn to read digits, under three
kinds of ill-treatment, with four activations.
"""

import itertools

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastact as fa
from fastact.fused import ActivationStats, relu_stats

images, digits = load_digits(return_X_y=True)
x, unseen_x, labels, unseen_labels = train_test_split(
    (images / 16).astype(np.float32),
    digits,
    test_size=0.25,
    random_state=0,
    stratify=digits,
)

# %%
# Counting
# --------
#
# ``relu_stats`` computes ReLU, and in the same pass counts for each unit
# how many samples made it positive. An ``ActivationStats`` adds that up
# over batches:

stats = ActivationStats()
z = np.array([[0.5, -1.0, 2.0], [-0.5, -3.0, 1.0]], np.float32)
relu_stats(z, stats)
relu_stats(-z[:, ::-1], stats)
print(stats)
print("active:", stats.active_fraction)
print("dead:", stats.dead_units())

# %%
# The network
# -----------
#
# Three hidden layers of 64 units. The activation is given by name. PReLU is
# a leaky ReLU whose slopes are learnt, one for each unit [2]_, so it has a
# backward function of its own, which gives the slopes' gradient, too.
# Training is by Adam, as it mostly is [3]_.

LAYERS, UNITS, BATCH = 3, 64, 128


class Network:
    def __init__(self, activation, spread=1.0, shift=0.0, bias=0.0, seed=1):
        rng = np.random.default_rng(seed)
        sizes = [64] + [UNITS] * LAYERS + [10]
        self.activation = activation
        self.weights = [
            rng.normal(
                shift / rows, spread * np.sqrt(2 / rows), (rows, columns)
            ).astype(np.float32)
            for rows, columns in itertools.pairwise(sizes)
        ]
        self.biases = [
            np.full(UNITS, bias, np.float32) for _ in range(LAYERS)
        ]
        self.biases.append(np.zeros(10, np.float32))
        self.slopes = [
            np.full(UNITS, 0.25, np.float32) for _ in range(LAYERS)
        ]

    def forward(self, x):
        """The scores; what goes into each layer; what activations get."""
        inputs, sums = [x], []
        for weight, bias, slope in zip(
            self.weights, self.biases, self.slopes, strict=False
        ):
            sums.append(inputs[-1] @ weight + bias)
            if self.activation == "prelu":
                inputs.append(fa.prelu(sums[-1], slope))
            else:
                inputs.append(getattr(fa, self.activation)(sums[-1]))
        return inputs[-1] @ self.weights[-1] + self.biases[-1], inputs, sums

    def gradients(self, x, labels):
        """By ``parameters()``, in their order."""
        scores, inputs, sums = self.forward(x)
        _, grad = fa.losses.cross_entropy_with_grad(
            scores, labels, out=scores
        )
        by_weight, by_bias, by_slope = (
            [inputs[-1].T @ grad],
            [grad.sum(axis=0)],
            [],
        )
        for i in reversed(range(LAYERS)):
            below = grad @ self.weights[i + 1].T
            if self.activation == "prelu":
                slope = self.slopes[i]
                grad, dslope = fa.fused.prelu_backward(
                    below, sums[i], slope, axis=-1, out=below
                )
                dbias = grad.sum(axis=0)
                by_slope.append(dslope)
            else:
                grad, dbias = fa.fused.bias_act_backward(
                    below, sums[i], self.activation, out=below
                )
            by_weight.append(inputs[i].T @ grad)
            by_bias.append(dbias)
        return by_weight[::-1] + by_bias[::-1] + by_slope[::-1]

    def parameters(self):
        return (
            self.weights
            + self.biases
            + (self.slopes if self.activation == "prelu" else [])
        )

    def statistics(self, x):
        """How often the units of each layer are active."""
        counted = [ActivationStats() for _ in range(LAYERS)]
        for z, stats in zip(self.forward(x)[2], counted, strict=True):
            relu_stats(z, stats)
        return counted

    def accuracy(self, x, labels):
        return float(np.mean(self.forward(x)[0].argmax(axis=1) == labels))


class Adam:
    """Steps of about ``rate``, whatever the size of the gradient."""

    def __init__(self, parameters, rate):
        self.rate, self.count = rate, 0
        self.states = [
            (p, np.zeros_like(p), np.zeros_like(p)) for p in parameters
        ]

    def step(self, gradients):
        self.count += 1
        for (parameter, mean, square), gradient in zip(
            self.states, gradients, strict=True
        ):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            corrected = np.sqrt(square / (1 - 0.999**self.count)) + 1e-8
            parameter -= (
                self.rate / (1 - 0.9**self.count) * mean / corrected
            )


# %%
# What kills, and what revives
# ----------------------------
#
# Three ways to treat a network badly:
#
# - **A learning rate that is too high.** A large step moves a unit's
#   weights so far that its input is negative for every sample.
# - **A large negative bias.** Nearly all units begin asleep.
# - **A bad initialization**: weights with a mean below zero, so that in
#   each layer the sum of many positive inputs is negative for many units.
#
# For ReLU, a unit that no sample activates is dead for good, unless the
# layers below it change. The other three have a slope on the negative side.
# There, too, a gradient comes through, and a unit that sleeps can be woken.

EPOCHS = 30
TROUBLES = {
    "high learning rate": ({}, 0.03),
    "large negative bias": ({"bias": -2.0}, 0.003),
    "bad initialization": ({"shift": -6.0}, 0.003),
}
ACTIVATIONS = {
    "relu": ("ReLU", "C3", "-"),
    "leaky_relu": ("leaky ReLU", "C0", "--"),
    "prelu": ("PReLU", "C2", "-."),
    "elu": ("ELU", "C1", ":"),
}


def never_active(network):
    """The part of all hidden units that no training image activates."""
    counted = network.statistics(x)
    return sum(len(stats.dead_units()) for stats in counted) / (
        LAYERS * UNITS
    )


def train(activation, settings, rate):
    """The network, and what ``never_active`` says after each epoch."""
    network = Network(activation, **settings)
    optimizer = Adam(network.parameters(), rate)
    batches = np.random.default_rng(0)
    history = [never_active(network)]
    for _ in range(EPOCHS):
        order = batches.permutation(len(x))
        for i in range(0, len(x), BATCH):
            chosen = order[i : i + BATCH]
            optimizer.step(network.gradients(x[chosen], labels[chosen]))
        history.append(never_active(network))
    return network, history


figure, panels = plt.subplots(
    3, 1, figsize=(6.2, 8.5), layout="constrained"
)
networks = {}
for panel, (trouble, (settings, rate)) in zip(
    panels, TROUBLES.items(), strict=True
):
    for activation, (name, color, style) in ACTIVATIONS.items():
        network, history = train(activation, settings, rate)
        networks[trouble, activation] = network
        panel.plot(history, style, color=color, label=name, linewidth=2)
    panel.set(title=trouble, ylabel="never active", ylim=(-0.03, 1.03))
    panel.grid(alpha=0.3)
panels[0].legend(loc="upper right", ncols=2)
panels[-1].set_xlabel("epoch")

# %%
# - **ReLU** (red) keeps what died. At the high rate a part of the units
#   dies in the first epochs, and stays dead. With the bias, nearly all
#   units are dead from the beginning; some layer has none left, so no
#   gradient comes through it, and nothing changes any more. After the bad
#   initialization, training even kills more.
# - **Leaky ReLU** (blue) has a slope of 0.01 on the negative side. That
#   wakes units, but slowly: the gradient that gets through is a hundredth.
# - **PReLU** (green) begins with a slope of 0.25 and changes it as it
#   needs.
# - **ELU** (orange) has a slope near 1 just below zero, and next to none
#   far below. It wakes most units here. Its negative outputs also pull the
#   mean of what a layer passes on towards zero.
#
# A unit of the last three that is never active is not dead: it computes
# with its negative side, and it learns. What ``relu_stats`` counts is how
# often the sum that a unit is applied to was positive, whatever the
# activation.
#
# A histogram says more than a number. ``ActivationStats.plot`` draws how
# often the units of a layer are active: here the second layer after
# training from the bad initialization.

figure, panels = plt.subplots(
    2, 1, figsize=(6.2, 5.5), layout="constrained"
)
for panel, activation in zip(panels, ("relu", "elu"), strict=True):
    stats = networks["bad initialization", activation].statistics(x)[1]
    stats.plot(panel)
    never = len(stats.dead_units())
    panel.set_title(f"{ACTIVATIONS[activation][0]}: {never} never active")

# %%
# What it costs
# -------------
#
# How many digits that they have never seen the networks read right in the
# end, and which part of their units is never active:


def table_row(label, cells):
    print(f"{label:20}" + "".join(f"{cell:>12}" for cell in cells))


table_row("", [name for name, _, _ in ACTIVATIONS.values()])
for trouble in TROUBLES:
    cells = []
    for activation in ACTIVATIONS:
        network = networks[trouble, activation]
        right = network.accuracy(unseen_x, unseen_labels)
        cells.append(f"{right:.0%}, {never_active(network):.0%}")
    table_row(trouble, cells)

plt.show()

# %%
# A network can do well with a third of its units dead. It was merely made
# for more: they cost time in every step, and give nothing.
#
# What helps
# ----------
#
# In this order: a learning rate that begins low; biases of zero; weights
# drawn with mean zero and a variance of 2 / n (He et al. [2]_), as in all
# but the last of these experiments; and if units still die, an activation
# with a slope on its negative side. To know whether they do, count:
# ``relu_stats`` counts in the pass that computes the ReLU, and what several
# processes counted can be added.
#
# .. [1] Lu, Shin, Su and Karniadakis, *Dying ReLU and initialization*,
#        2019, arXiv:1903.06733.
# .. [2] He, Zhang, Ren and Sun, *Delving deep into rectifiers*, 2015,
#        arXiv:1502.01852.
# .. [3] Kingma and Ba, *Adam: a method for stochastic optimization*, 2014,
#        arXiv:1412.6980.
