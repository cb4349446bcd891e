"""The message field (docs/method.md, section 9) written from its equations for JAX and for PyTorch, and its flow.

x [..., N, D]; parameters by the names of the model file. Divergences come from automatic differentiation, of which the library
has none: an independent check of both, and what others would do.
"""

import json
import math
import struct

import numpy as np


def load(path):
    """The options of a model file and its parameters, by name, in double."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = file.read()
    options = json.loads(header.pop("__metadata__")["eqflow"])
    if options["dynamics"]["kind"] != "message":
        raise SystemExit(f"{path} has another field: {options['dynamics']['kind']}")
    tensors = {
        name: np.frombuffer(data[slice(*t["data_offsets"])], dtype="<f4").reshape(t["shape"]).astype(np.float64)
        for name, t in header.items()
    }
    return options, {name.removeprefix("message."): value for name, value in tensors.items()}


class Network:
    """xp: jax.numpy or torch; p: parameters as its arrays, of the kind of number to compute in."""

    def __init__(self, xp, options, p):
        dynamics = options["dynamics"]
        self.xp, self.p = xp, p
        self.num_particles = options["potential"]["num_particles"]
        self.space_dim = options["potential"]["space_dim"]
        self.hops, self.H, self.M = dynamics["num_hops"], dynamics["num_scalars"], dynamics["num_vectors"]
        self.E, self.R, self.K = dynamics["num_edge"], dynamics["num_reduced"], dynamics["num_distance"]
        self.spacing = dynamics["distance_max"] / (self.K - 1)
        self.scale = options["prior"]["scale"]
        like = p["input"]
        self.centres = self.array(np.arange(self.K) * self.spacing, like)
        self.eye = self.array(np.eye(self.num_particles), like)
        self.times = self.array(np.arange(8) / 7.0, like)
        self.one = self.array(np.ones(1), like)

    def array(self, values, like):
        return self.xp.asarray(values, dtype=like.dtype)

    def cat(self, parts):
        return self.xp.cat(parts, dim=-1) if hasattr(self.xp, "cat") else self.xp.concatenate(parts, axis=-1)

    def silu(self, x):
        return x / (1 + self.xp.exp(-x))

    def sat(self, x):
        return x / self.xp.sqrt(1 + x * x / 9)

    def velocity(self, x, t):
        xp, p, H, M, E = self.xp, self.p, self.H, self.M, self.E
        einsum = xp.einsum
        time = self.cat([xp.exp(-(((t - self.times) / 0.2) ** 2)), self.one])
        r = x[..., :, None, :] - x[..., None, :, :]
        d = xp.sqrt((r * r).sum(-1) + self.eye)
        e = xp.exp(-(((d[..., None] - self.centres) / (math.sqrt(2) * self.spacing)) ** 2))
        e = e * (1 - self.eye)[..., None]  # sums leave out i = j
        f = e @ p["filter_1"].T
        h = self.silu(f[..., :H].sum(-2) @ p["input"].T + p["time_1"] @ time)
        u = einsum("...ijm,...ijd->...imd", f[..., H:], r)
        for hop in range(2, self.hops + 1):
            h, u = self.hop(hop, e @ p[f"filter_{hop}"].T, r, h, u, time)
        return self.read_out(e, r, h, u, time)

    def hop(self, hop, f, r, h, u, time):
        xp, p, H, M = self.xp, self.p, self.H, self.M
        einsum = xp.einsum
        ab = h @ p[f"mix_{hop}"].T
        m = einsum("...ijh,...jh->...ih", f[..., :H], ab[..., :H])
        along = einsum("...ijd,...jmd->...ijm", r, u)
        q = (f[..., H : H + M] * along).sum(-2)
        uv = einsum("nm,...jmd->...jnd", p[f"vector_{hop}"], u)
        mixed = f[..., H + M : H + 2 * M] * ab[..., None, :, H:]
        w = uv[..., :M, :] + einsum("...ijm,...ijd->...imd", mixed, r)
        w = w + einsum("...ijm,...jmd->...imd", f[..., H + 2 * M :], uv[..., M:, :])
        pq = einsum("nm,...imd->...ind", p[f"product_{hop}"], w)
        n = (pq[..., :M, :] * pq[..., M:, :]).sum(-1)
        inputs = self.cat([h, m, self.sat(q), self.sat(n)])
        h = h + self.silu(inputs @ p[f"update_{hop}"].T + p[f"time_{hop}"] @ time)
        w = w * (1 + h @ p[f"gate_{hop}"].T)[..., None]
        return h, w / xp.sqrt(1 + (w * w).sum(-1) / 25)[..., None]

    def read_out(self, e, r, h, u, time):
        xp, p, E = self.xp, self.p, self.E
        einsum = xp.einsum
        tau = p["time_edge"] @ time
        alpha = p["time_radial"] @ time
        y = einsum("rm,...imd->...ird", p["readout_vector"], u)
        nodes = self.cat([h, self.sat((y * y).sum(-1))]) @ p["readout_node"].T
        both = (nodes[..., :E] + tau[E : 2 * E])[..., :, None, :] + nodes[..., None, :, E:]
        f = e @ p["filter_edge"].T
        invariants = self.cat(
            [
                einsum("...ird,...ijd->...ijr", y, r),
                einsum("...jrd,...ijd->...ijr", y, r),
                einsum("...ird,...jrd->...ijr", y, y),
            ]
        )
        z = f[..., :E] + (f[..., E:] + tau[:E]) * both + invariants @ p["readout_invariant"].T
        g = self.silu(self.silu(z) @ p["edge"].T + tau[2 * E :]) @ p["edge_out"][0] + z @ p["edge_out"][1]
        g = g + e @ alpha[:-1] + alpha[-1]
        gated = u * (1 + h @ p["gate_out"].T)[..., None]
        v = (g[..., None] * r).sum(-2) + einsum("m,...imd->...id", p["vector_out"][0], gated)
        return v - (v.sum(-2) / self.num_particles)[..., None, :]

    def prior_log_prob(self, z):
        dof = (self.num_particles - 1) * self.space_dim
        squares = (z * z).sum(-1).sum(-1)
        return -squares / (2 * self.scale**2) - dof * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))

    def step(self, field, velocity, state, t, h):
        """One step as src/integrator/rk4_batched.c makes it: RK4 for x; log|det| by Simpson's rule, the place in the middle
        from the cubic through both ends. state: x, log|det| so far, velocity and divergence at x."""
        x, total, k1, d1 = state
        k2 = velocity(x + 0.5 * h * k1, t + 0.5 * h)
        k3 = velocity(x + 0.5 * h * k2, t + 0.5 * h)
        k4 = velocity(x + h * k3, t + h)
        end = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        k5, d5 = field(end, t + h)
        _, middle = field(0.5 * (x + end) + h / 8 * (k1 - k5), t + 0.5 * h)
        return end, total + h / 6 * (d1 + 4 * middle + d5), k5, d5

    def solve(self, field, velocity, x, steps, sign):
        """From t = 0 to 1 (sign 1) or back; field(x, t) gives velocity and divergence. Its end and log|det|."""
        state = (x, 0.0, *field(x, 0.0 if sign > 0 else 1.0))
        for step in range(steps):
            t = step / steps if sign > 0 else 1 - step / steps
            state = self.step(field, velocity, state, t, sign / steps)
        return state[0], state[1]
