"""
Vanishing gradients
===================

In a deep network, the gradient that reaches the first layer is a product:
each layer on the way multiplies it by its weights and by the slope of its
activation. If the factors are a little below one, nothing is left after
thirty layers; a little above, and it explodes [1]_. This page looks at that
product, layer by layer, for four activations, and then at what it means for
training.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastact as fa

images, labels = load_digits(return_X_y=True)
x = images[:600].astype(np.float32)
x, labels = (x - x.mean()) / x.std(), labels[:600]

# %%
# Thirty layers
# -------------
#
# 64 units each. The weights are drawn as the papers recommend for each
# activation, so that signals keep their size: with variance 1 / n for
# sigmoid, tanh (Glorot and Bengio [2]_) and SELU (Klambauer et al. [3]_), 2
# / n for ReLU (He et al. [4]_).

DEPTH, UNITS = 30, 64
GAINS = {"sigmoid": 1.0, "tanh": 1.0, "relu": 2.0, "selu": 1.0}


class Network:
    def __init__(self, activation, gain=None, seed=0):
        rng = np.random.default_rng(seed)
        self.activation = activation
        deviation = np.sqrt((gain or GAINS[activation]) / UNITS)
        self.weights = [
            rng.normal(0, deviation, (UNITS, UNITS)).astype(np.float32)
            for _ in range(DEPTH)
        ]
        self.weights.append(
            rng.normal(0, np.sqrt(1 / UNITS), (UNITS, 10)).astype(
                np.float32
            )
        )
        self.biases = [
            np.zeros(w.shape[1], np.float32) for w in self.weights
        ]

    def forward(self, x):
        """The scores; what goes into each layer; what products give."""
        inputs, products = [x], []
        for weight, bias in zip(
            self.weights[:-1], self.biases[:-1], strict=True
        ):
            products.append(inputs[-1] @ weight)
            inputs.append(
                fa.fused.bias_act(products[-1], bias, self.activation)
            )
        return (
            inputs[-1] @ self.weights[-1] + self.biases[-1],
            inputs,
            products,
        )

    def gradients(self, x, labels):
        """The loss, and the gradients by weights and biases of layers."""
        scores, inputs, products = self.forward(x)
        loss, grad = fa.losses.cross_entropy_with_grad(
            scores, labels, out=scores
        )
        found = [(inputs[-1].T @ grad, grad.sum(axis=0))]
        for i in reversed(range(DEPTH)):
            below = grad @ self.weights[i + 1].T
            grad, by_bias = fa.fused.bias_act_backward(
                below,
                products[i],
                self.activation,
                self.biases[i],
                out=below,
            )
            found.append((inputs[i].T @ grad, by_bias))
        return float(loss), found[::-1]


# %%
# One step backward
# -----------------
#
# The norm of the gradient by each layer's weights, before any training:

STYLES = {
    "sigmoid": ("C3", "-"),
    "tanh": ("C0", "--"),
    "relu": ("C2", "-."),
    "selu": ("C1", ":"),
}


def by_layer(panel, title, ylabel):
    panel.set(title=title, xlabel="layer", ylabel=ylabel)
    panel.grid(alpha=0.3)
    panel.legend()


def norms(network):
    _, gradients = network.gradients(x, labels)
    return np.array(
        [np.linalg.norm(by_weight) for by_weight, _ in gradients[:DEPTH]]
    )


figure, panel = plt.subplots(figsize=(6.2, 4), layout="constrained")
for activation, (color, style) in STYLES.items():
    found = norms(Network(activation))
    panel.semilogy(
        range(1, DEPTH + 1),
        found,
        style,
        color=color,
        label=activation,
        linewidth=2,
    )
    left = found[0] / found[-1]
    factor = left ** (1 / (DEPTH - 1))
    print(f"{activation:8} first / last: {left:.0e}, {factor:.2f} a layer")
by_layer(
    panel,
    "Gradients in thirty layers",
    "norm of the gradient by the weights",
)

# %%
# The slope of a sigmoid is 1/4 at most. Thirty times a factor of 1/4 is 10\
# :sup:`-18`: the first layers of that network do not learn anything. Larger
# weights would make up for it only as long as the inputs stay near zero,
# where the slope is at its largest.
#
# The other three keep the gradient's size: tanh has slope 1 at zero, ReLU
# loses half of its inputs, for which the variance of 2 / n makes up, and
# SELU was made so that mean and variance of what layers pass on are drawn
# towards 0 and 1. What goes forward shows that:

figure, panel = plt.subplots(figsize=(6.2, 4), layout="constrained")
for activation, (color, style) in STYLES.items():
    _, inputs, _ = Network(activation).forward(x)
    # Over images: what is the same for all of them tells nothing.
    spread = [h.std(axis=0).mean() for h in inputs]
    panel.semilogy(
        spread, style, color=color, label=activation, linewidth=2
    )
by_layer(
    panel, "Signals in thirty layers", "spread of the outputs over images"
)

# %%
# What the sigmoid's layers pass on is nearly the same for each image.
#
# The weights matter as much
# --------------------------
#
# With a variance of 1 / n, which is right for tanh, a layer of ReLU loses
# half of the square of what passes through it; with 4 / n it doubles. That
# holds forward and backward. The gradient by a layer's weights is the
# product of what came forward and of what came backward, so here it is too
# small, or too large, in all layers alike:

figure, panel = plt.subplots(figsize=(6.2, 4), layout="constrained")
for gain, style in {1.0: ":", 2.0: "-", 4.0: "--"}.items():
    found = norms(Network("relu", gain))
    label = f"relu, variance {gain:.0f} / n"
    panel.semilogy(
        range(1, DEPTH + 1),
        found,
        style,
        color="C2",
        label=label,
        linewidth=2,
    )
by_layer(
    panel,
    "Gradients of ReLU's layers, by their weights' variance",
    "norm of the gradient by the weights",
)

# %%
# What it means for training
# --------------------------
#
# The same four networks, trained for 80 steps of gradient descent over 600
# images. The grey line is what guessing gives, log 10.


def train(network, steps=80, rate=0.01):
    losses = []
    for _ in range(steps):
        loss, gradients = network.gradients(x, labels)
        losses.append(loss)
        for weight, bias, (by_weight, by_bias) in zip(
            network.weights, network.biases, gradients, strict=True
        ):
            weight -= rate * by_weight
            bias -= rate * by_bias
    return losses


figure, panel = plt.subplots(figsize=(6.2, 4), layout="constrained")
for activation, (color, style) in STYLES.items():
    losses = train(Network(activation))
    panel.plot(losses, style, color=color, label=activation, linewidth=2)
    print(f"{activation:8} loss {losses[0]:.2f} -> {losses[-1]:.2f}")
panel.axhline(np.log(10), color="0.5", linewidth=1)
panel.set(title="Training thirty layers", xlabel="step", ylabel="loss")
panel.grid(alpha=0.3)
panel.legend()
plt.show()

# %%
# The sigmoid's network stays at guessing. Those whose gradients arrive
# learn; SELU the quickest here.
#
# Deep networks of today mostly have another remedy on top: residual blocks,
# y = x + f(x), through which the gradient comes by the sum, whatever the
# factors of f are (see :ref:`sphx_glr_auto_tutorials_plot_sparsity.py`).
#
# .. [1] Hochreiter, Bengio, Frasconi and Schmidhuber, *Gradient flow in
#        recurrent nets*, 2001.
# .. [2] Glorot and Bengio, *Understanding the difficulty of training deep
#        feedforward neural networks*, 2010.
# .. [3] Klambauer, Unterthiner, Mayr and Hochreiter, *Self-normalizing
#        neural networks*, 2017, arXiv:1706.02515.
# .. [4] He, Zhang, Ren and Sun, *Delving deep into rectifiers*, 2015,
#        arXiv:1502.01852.
