"""Update rules for one weight w with gradient g: the new weight first, then the new moments.

η is the learning rate. `minidl.optimizers` names the source of each rule.
"""

from __future__ import annotations

import math

from minidl.scalar.constants import ONE


def sgd(w, g, rate):
    """w ← w - η g."""
    return w - rate * g


def momentum(w, g, velocity, rate, mu):
    """v ← μ v + g,   w ← w - η v."""
    velocity = mu * velocity + g
    return w - rate * velocity, velocity


def nesterov(w, g, velocity, rate, mu):
    """v ← μ v + g,   w ← w - η (g + μ v)."""
    velocity = mu * velocity + g
    return w - rate * (g + mu * velocity), velocity


def rmsprop(w, g, mean_square, rate, decay, epsilon):
    """s ← ρ s + (1-ρ) g²,   w ← w - η g / (√s + ε)."""
    mean_square = decay * mean_square + (ONE - decay) * (g * g)
    return w - rate * g / (math.sqrt(mean_square) + epsilon), mean_square


def adam(w, g, first, second, correction1, correction2, rate, beta1, beta2, epsilon, weight_decay):
    """m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   w ← w - η (m̂ / (√v̂ + ε) + λ w).

    m̂ = m / correction1 and v̂ = v / correction2, where the corrections are 1 - β₁ᵗ and 1 - β₂ᵗ at step t.
    """
    first = beta1 * first + (ONE - beta1) * g
    second = beta2 * second + (ONE - beta2) * (g * g)
    # Not first / correction1: these quotients are the same for all weights, which leaves each with one division.
    m, v = first * (ONE / correction1), second * (ONE / correction2)
    direction = m / (math.sqrt(v) + epsilon)
    return w - rate * (direction + weight_decay * w), first, second
