#!/usr/bin/env python3
"""Peers: jitted JAX, unordered pairs i<j, weights contracted over time first, lax.scan over the RK4 steps.

  direct  every Gaussian of every pair is summed
  table   the same cubic Hermite tables over distance as eqflow and torch_table.py

One XLA program is one call: latents drawn, flow solved, log-density; or one whole Adam step. XLA has no setting that
binds its thread pools reliably: the driver limits the CPUs of the process (sched_setaffinity), which binds all alike.
"""

import os
import sys
from functools import partial

if "--threads" in sys.argv[:-1] and int(sys.argv[sys.argv.index("--threads") + 1]) == 1:
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import numpy as np

import peer

NUM_CELLS = 2048


def distance_basis(p, q, d):
    """Normalised Gaussians and their derivatives, [..., K]."""
    inv_gamma = jnp.exp(-q["distance_log_gammas"])
    scaled = (d[..., None] - p["distance_centers"]) * inv_gamma
    g = jnp.exp(-(scaled**2))
    dg = -2.0 * scaled * inv_gamma * g
    norm = peer.RBF_EPSILON + g.sum(axis=-1, keepdims=True)
    rbf = g / norm
    return rbf, (dg - rbf * dg.sum(axis=-1, keepdims=True)) / norm


def stage_weights(p, q):
    """Weights [S, K] and offsets [S] at the distinct stage times."""
    t = jnp.asarray(peer.stage_times(), dtype=jnp.float32)
    time_g = jnp.exp(-(((t[:, None] - p["time_centers"]) * jnp.exp(-q["time_log_gammas"])) ** 2))
    time_rbf = time_g / (peer.RBF_EPSILON + time_g.sum(axis=1, keepdims=True))
    weights = time_rbf @ q["weights"].T
    return weights, weights @ q["importance"] ** 2 + time_rbf @ q["bias"]


class Direct:
    """A stage is (weights [K], offset)."""

    def __init__(self, system, p, _num_cells):
        self.system, self.p = system, p

    def stages(self, q):
        return stage_weights(self.p, q)

    def radial(self, q, stage, d):
        """phi and d phi' at d."""
        weights, offset = stage
        rbf, drbf = distance_basis(self.p, q, d)
        return rbf @ weights + offset, d * (drbf @ weights)


class Table:
    """A stage is the coefficients [cells, 4] of the cubics in f in [0, 1)."""

    def __init__(self, system, p, num_cells):
        self.system, self.p, self.num_cells = system, p, num_cells
        self.cell_width = peer.table_max(p) / num_cells

    def stages(self, q):
        nodes = jnp.arange(self.num_cells + 1, dtype=jnp.float32) * self.cell_width
        rbf, drbf = distance_basis(self.p, q, nodes)
        weights, offset = stage_weights(self.p, q)
        value = weights @ rbf.T + offset[:, None]
        slope = (weights @ drbf.T) * self.cell_width
        left, right, left_slope, right_slope = value[:, :-1], value[:, 1:], slope[:, :-1], slope[:, 1:]
        return jnp.stack(
            (
                left,
                left_slope,
                3.0 * (right - left) - 2.0 * left_slope - right_slope,
                2.0 * (left - right) + left_slope + right_slope,
            ),
            axis=-1,
        )

    def radial(self, _q, stage, d):
        u = jnp.minimum(d / self.cell_width, self.num_cells * (1.0 - 1e-7))
        cell = jax.lax.stop_gradient(u).astype(jnp.int32)
        f = u - cell
        c = stage.at[cell].get(mode="promise_in_bounds")
        c0, c1, c2, c3 = c[..., 0], c[..., 1], c[..., 2], c[..., 3]
        return c0 + f * (c1 + f * (c2 + f * c3)), u * (c1 + f * (2.0 * c2 + 3.0 * f * c3))


VARIANTS = {"direct": Direct, "table": Table}


def field(variant, q, stage, x):
    """x [D, N, B] -> velocity [D, N, B], divergence [B]."""
    n, dim = variant.system.num_particles, variant.system.space_dim
    i, j = np.triu_indices(n, 1)
    incidence = np.zeros((n, len(i)), dtype=np.float32)
    incidence[i, np.arange(len(i))] = 1.0
    incidence[j, np.arange(len(j))] = -1.0
    r = x[:, i] - x[:, j]
    phi, dphi_d = variant.radial(q, stage, jnp.sqrt((r**2).sum(axis=0)))
    velocity = jnp.einsum("np,dpb->dnb", incidence, r * phi)
    return velocity, 2.0 * (dphi_d + dim * phi).sum(axis=0)


def solve(variant, q, x, direction):
    """End state and log|det| of RK4 over t in [0, 1]."""
    stages = variant.stages(q)
    h = direction / peer.NUM_STEPS
    n = variant.system.num_particles

    def step(state, index):
        x, log_det = state
        begin = 2 * index if direction > 0 else 2 * (peer.NUM_STEPS - index)
        at = lambda k: jax.tree_util.tree_map(lambda s: s[k], stages)
        mid = at(begin + direction)
        k1, l1 = field(variant, q, at(begin), x)
        k2, l2 = field(variant, q, mid, x + h / 2 * k1)
        k3, l3 = field(variant, q, mid, x + h / 2 * k2)
        k4, l4 = field(variant, q, at(begin + 2 * direction), x + h * k3)
        return (x + h / 6 * (k1 + 2 * (k2 + k3) + k4), log_det + h / 6 * (l1 + 2 * (l2 + l3) + l4)), None

    # Keeping only the states and computing each step again for its gradient is 1.8-3x faster than storing everything,
    # except for small tables, whose intermediates stay in the cache (1.3x slower).
    is_small = isinstance(variant, Table) and n * (n - 1) // 2 * x.shape[2] <= 8192
    step = step if is_small else jax.checkpoint(step)
    return jax.lax.scan(step, (x, jnp.zeros(x.shape[2])), jnp.arange(peer.NUM_STEPS))[0]


def sample(variant, q, z):
    """z [D, N, B] -> x [D, N, B], log_prob [B]."""
    x, log_det = solve(variant, q, z, +1)
    return x, -0.5 * (z**2).sum(axis=(0, 1)) - peer.prior_constant(variant.system) - log_det


def nll_mean(variant, x, q):
    z, log_det = solve(variant, q, x, -1)
    return (0.5 * (z**2).sum(axis=(0, 1)) - log_det).mean() + peer.prior_constant(variant.system)


def adam_step(variant, data, batch, state):
    """One Adam step on a random batch; state is (key, step count, parameters, first and second moments)."""
    key, count, q, m, v = state
    key, draw = jax.random.split(key)
    x = data[:, :, jax.random.randint(draw, (batch,), 0, data.shape[2])]
    loss, grad = jax.value_and_grad(partial(nll_mean, variant, x))(q)
    count = count + 1
    tree_map = jax.tree_util.tree_map
    m = tree_map(lambda a, g: 0.9 * a + 0.1 * g, m, grad)
    v = tree_map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grad)
    q = tree_map(
        lambda a, mean, square: a
        - peer.LEARNING_RATE * (mean / (1 - 0.9**count)) / (jnp.sqrt(square / (1 - 0.999**count)) + 1e-8),
        q,
        m,
        v,
    )
    return loss, (key, count, q, m, v)


def trained(p):
    return {name: jnp.asarray(p[name]) for name in peer.TRAINED}


def to_device(x):
    """[B, N, D] -> [D, N, B]."""
    return jnp.asarray(np.ascontiguousarray(x.transpose(2, 1, 0)))


class JaxPeer(peer.Peer):
    def __init__(self, variant, num_cells):
        self.variant, self.num_cells = variant, num_cells
        self.name = f"jax_{variant}"

    def versions(self):
        return {**super().versions(), "jax": jax.__version__, "cells": self.num_cells}

    def best_batch(self, task, system):
        return {"dw4": 1024, "lj13": 256, "lj55": 32}[system.name]

    def prepare(self, task, system, batch):
        p = peer.parameters(system)
        variant = VARIANTS[self.variant](system, p, self.num_cells)
        q = trained(p)
        if task == "sample":

            @jax.jit
            def draw(key, q):
                key, now = jax.random.split(key)
                z = jax.random.normal(now, (system.space_dim, system.num_particles, batch))
                x, log_prob = sample(variant, q, z - z.mean(axis=1, keepdims=True))
                return key, x, log_prob, log_prob.mean()

            key = jax.random.PRNGKey(0)

            def call():
                nonlocal key
                key, x, _, mean = draw(key, q)
                x.block_until_ready()
                return float(mean)

            return call

        data = to_device(peer.prior_sample(system, 4 * batch, seed=5))
        step = jax.jit(partial(adam_step, variant, data, batch))
        zeros = jax.tree_util.tree_map(jnp.zeros_like, q)
        state = (jax.random.PRNGKey(0), jnp.zeros((), jnp.int32), q, zeros, zeros)

        def call():
            nonlocal state
            loss, state = step(state)
            jax.block_until_ready(state)
            return float(loss)

        return call

    def check(self):
        def check_sample(system, p, z):
            run = jax.jit(partial(sample, VARIANTS[self.variant](system, p, self.num_cells)))
            x, log_prob = run(trained(p), to_device(z))
            return np.asarray(x).transpose(2, 1, 0), np.asarray(log_prob)

        def check_gradient(system, p, x):
            loss = partial(nll_mean, VARIANTS[self.variant](system, p, self.num_cells), to_device(x))
            nll, grad = jax.jit(jax.value_and_grad(loss))(trained(p))
            return float(nll), {name: np.asarray(g) for name, g in grad.items()}

        return peer.check(self.name, check_sample, check_gradient)


def add_options(parser):
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="table", help="see above (default table)")
    parser.add_argument("--cells", type=int, default=NUM_CELLS, help=f"cells of the table (default {NUM_CELLS})")


if __name__ == "__main__":
    peer.main(__doc__, lambda options: JaxPeer(options.variant, options.cells), lambda p: p.check(), add_options)
