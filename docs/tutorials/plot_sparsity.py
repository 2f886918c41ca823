"""
Sparsity: counting zeros, and what one bit can save
===================================================

A ReLU's output is zero wherever its input was not positive. How many zeros
is that, in theory and in a network that has learnt something? And since all
that the gradient of a ReLU needs to know of an element is whether it was
positive: how much memory does it save to keep one bit of it?
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastact as fa
from fastact.fused import (
    ActivationStats,
    relu_mask,
    relu_mask_backward,
    relu_stats,
)

# %%
# Which activations give zeros
# ----------------------------
#
# A million normally distributed numbers, and how many of the results are
# exactly zero:

numbers = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
functions = {
    "relu": fa.relu,
    "squared_relu": fa.squared_relu,
    "softshrink(0.5)": lambda x: fa.softshrink(x, 0.5),
    "sparse_plus": fa.sparse_plus,
    "leaky_relu": fa.leaky_relu,
    "silu": fa.silu,
    "gelu": fa.gelu,
}
for name, function in functions.items():
    print(f"{name:16} {np.mean(function(numbers) == 0):6.1%}")

# %%
# The first four have a flat piece at zero, and what is put into it is gone,
# backward, too. SiLU and GELU come close to zero, but they are not zero:
# nothing can be left out of their gradients.
#
# A network with residual blocks
# ------------------------------
#
# A block adds something to its input: h + relu(h @ weight + bias). For the
# gradients it has to keep h, which the gradient by the weight needs; and of
# the ReLU, *where* it was positive. NumPy's idiom ``grad * (y > 0)`` keeps
# y for that, an array as large as h. ``relu_mask`` returns the result and
# one bit for each element; then y is not needed any more.

BLOCKS, UNITS, BATCH, RATE = 6, 128, 128, 0.05
images, labels = load_digits(return_X_y=True)
x = (images / 16).astype(np.float32)


class Network:
    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        shapes = [(64, UNITS)] + [(UNITS, UNITS)] * BLOCKS + [(UNITS, 10)]
        self.weights = [
            (rng.normal(0, np.sqrt(2 / rows), (rows, columns))).astype(
                np.float32
            )
            for rows, columns in shapes
        ]
        for weight in self.weights[1:-1]:
            weight /= (
                BLOCKS  # what blocks add would grow from one to the next
            )
        self.biases = [
            np.zeros(columns, np.float32) for _, columns in shapes
        ]

    def forward(self, x):
        """The scores; what goes into blocks and last layer; the masks."""
        h = x @ self.weights[0] + self.biases[0]
        inputs, masks = [h], []
        for weight, bias in zip(
            self.weights[1:-1], self.biases[1:-1], strict=True
        ):
            z = h @ weight
            z += bias
            y, mask = relu_mask(z, out=z)
            y += h
            h = y
            inputs.append(h)
            masks.append(mask)
        return h @ self.weights[-1] + self.biases[-1], inputs, masks

    def step(self, x, labels):
        scores, inputs, masks = self.forward(x)
        _, grad = fa.losses.cross_entropy_with_grad(
            scores, labels, out=scores
        )
        below = grad @ self.weights[-1].T
        self.update(-1, inputs[-1], grad)
        grad = below
        for i in range(BLOCKS, 0, -1):
            inner = relu_mask_backward(grad, masks[i - 1])
            grad += inner @ self.weights[i].T
            self.update(i, inputs[i - 1], inner)
        self.update(0, x, grad)

    def update(self, i, inputs, grad):
        self.weights[i] -= RATE * (inputs.T @ grad)
        self.biases[i] -= RATE * grad.sum(axis=0)

    def statistics(self, x):
        """How often the units of each block are active."""
        counted = [ActivationStats() for _ in range(BLOCKS)]
        _, inputs, _ = self.forward(x)
        for i, stats in enumerate(counted):
            relu_stats(
                inputs[i] @ self.weights[i + 1] + self.biases[i + 1], stats
            )
        return counted


# %%
# The mask has the bits of ``np.packbits``, and the gradient those of the
# idiom:

z = np.random.default_rng(1).normal(size=(1000, UNITS)).astype(np.float32)
grad = (
    np.random.default_rng(2).normal(size=(1000, UNITS)).astype(np.float32)
)
y, mask = relu_mask(z)
print("mask:", np.array_equal(mask, np.packbits(z > 0, bitorder="little")))
print(
    "gradient:",
    np.array_equal(relu_mask_backward(grad, mask), grad * (y > 0)),
)
print(f"kept: {mask.nbytes:,} bytes instead of {y.nbytes:,}")

# %%
# Zeros while it learns
# ---------------------
#
# ``ActivationStats.sparsity`` is the part of the outputs that are zero:

network = Network()
order = np.random.default_rng(0)
history = []
for _epoch in range(25):
    history.append([stats.sparsity for stats in network.statistics(x)])
    shuffled = order.permutation(len(x))
    for i in range(0, len(x), BATCH):
        chosen = shuffled[i : i + BATCH]
        network.step(x[chosen], labels[chosen])
history.append([stats.sparsity for stats in network.statistics(x)])

figure, panel = plt.subplots(figsize=(6.2, 3.8), layout="constrained")
for i, sparsities in enumerate(zip(*history, strict=True)):
    color = plt.get_cmap("viridis")(i / (BLOCKS - 0.5))
    panel.plot(sparsities, color=color, label=f"block {i + 1}", linewidth=2)
panel.set(
    title="Sparsity of the blocks while they learn",
    xlabel="epoch",
    ylabel="outputs that are zero",
    ylim=(0, 1),
)
panel.grid(alpha=0.3)
panel.legend(ncols=2)

# %%
# Half of the outputs are zero before training, as for any numbers that are
# distributed around zero, and about half of them stay so. What changes is
# which.

# %%
# Who fires for which digit
# -------------------------
#
# The mask of the last block, drawn: a row for each image, sorted by digit,
# and a column for each unit. Dark is active.

_, _, masks = network.forward(x)
active = np.unpackbits(masks[-1], bitorder="little").reshape(len(x), UNITS)
by_digit = np.argsort(labels, kind="stable")
by_unit = np.argsort(active.mean(axis=0))
figure, panel = plt.subplots(figsize=(6.2, 4.5), layout="constrained")
panel.imshow(
    active[by_digit][:, by_unit],
    aspect="auto",
    cmap="Blues",
    interpolation="nearest",
    vmin=0,
    vmax=1,
)
starts = np.searchsorted(labels[by_digit], np.arange(11))
panel.set_yticks((starts[:-1] + starts[1:]) / 2, range(10))
panel.hlines(
    starts[1:-1] - 0.5, -0.5, UNITS - 0.5, color="C1", linewidth=0.8
)
panel.set(
    title="Which units are active for which digit",
    xlabel="unit, by how often it is active",
    ylabel="digit",
)

# %%
# What is kept for the backward pass
# ----------------------------------
#
# Between forward and backward pass, a block keeps its input, and of its
# ReLU the output, or the mask. Counted for this network and all images at
# once:

_, inputs, masks = network.forward(x)
blocks_inputs = sum(h.nbytes for h in inputs)
ways = {
    "outputs, float64": sum(2 * h.nbytes for h in inputs[1:]),
    "outputs, float32": sum(h.nbytes for h in inputs[1:]),
    "masks": sum(mask.nbytes for mask in masks),
}
figure, panel = plt.subplots(figsize=(6.2, 2.8), layout="constrained")
for place, (name, nbytes) in enumerate(ways.items()):
    kept = blocks_inputs * (2 if "float64" in name else 1)
    first = place == 0
    panel.barh(
        place, kept / 1e6, color="0.6", label="inputs" if first else None
    )
    bar = panel.barh(
        place,
        nbytes / 1e6,
        left=kept / 1e6,
        color="C1",
        label="of the ReLUs" if first else None,
    )
    text = f"{(kept + nbytes) / 1e6:.1f} ({nbytes / 1e6:.2f} of ReLUs)"
    panel.bar_label(bar, [text], padding=3)
panel.set(title="Kept for the backward pass", xlabel="MB", xlim=(0, 35))
panel.set_yticks(range(len(ways)), ways)
panel.invert_yaxis()
panel.spines[["top", "right"]].set_visible(False)
panel.legend(loc="lower right")
plt.show()

# %%
# The masks take 1/32 of what float32 outputs take, and 1/64 of float64's.
# They take no pass of their own: a mask is made while the result is, and
# backward it is read in the output's place.
#
# Where masks do not help
# -----------------------
#
# - In a plain layer the output of the ReLU is the next layer's input, which
#   has to be kept anyway. Then ``fa.relu_backward(grad, y)`` needs nothing
#   else.
# - Zeros do not make matrix products faster: they compute with them like
#   with other numbers.
#
# And dropout needs no mask at all. ``relu_dropout`` decides by a random
# number that is a function of the seed and of the element's place, and its
# backward makes the same numbers again:

y = fa.fused.relu_dropout(z, 0.5, seed=7)
dz = fa.fused.relu_dropout_backward(grad, z, 0.5, seed=7)
print(f"zero after ReLU and dropout: {np.mean(y == 0):.1%}")
print(
    "a gradient only where something was kept:",
    np.array_equal(dz != 0, y != 0),
)
