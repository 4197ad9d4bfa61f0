"""Adversarial weight perturbation in NumPy, for a linear softmax classifier, with gradients by hand."""

import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def gradients(weight, bias, x, y):
    """Gradient of the mean cross-entropy of `x @ weight.T + bias` by weight and bias."""
    error = softmax(x @ weight.T + bias)
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    return error.T @ x, error.sum(axis=0)


def awp_gradients(weight, bias, x, y, gamma):
    """Gradients at the weight moved by `gamma` of its own norm up the loss; the bias, of one dimension, stays."""
    up, _ = gradients(weight, bias, x, y)
    moved = weight + gamma * np.linalg.norm(weight) * up / np.linalg.norm(up)
    return gradients(moved, bias, x, y)
