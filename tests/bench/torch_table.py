#!/usr/bin/env python3
"""Peers: well-optimised PyTorch with eqflow's own algorithm.

Unordered pairs i<j; the weights are contracted over time first, for all 41 distinct stage times at once; phi(., t)
becomes a cubic Hermite table over distance and is interpolated; the divergence uses the interpolant's own derivative.
Two styles:

  idiomatic  tensors [B, P, D] and [B, P], fancy indexing, autograd through everything: what a good PyTorch user writes
  tuned      batch last ([D, P, B], so that every operation runs over contiguous memory), one-dimensional gathers,
             buffers that are reused, a handwritten backward of the whole field evaluation that bins table gradients by
             bincount: the fastest form found
"""

import torch

import peer

NUM_CELLS = 2048


class Params:
    """The trained groups as leaf tensors, and the table's nodes."""

    def __init__(self, p, num_cells, requires_grad):
        self.trained = {n: torch.tensor(p[n]).requires_grad_(requires_grad) for n in peer.TRAINED}
        self.distance_centers = torch.tensor(p["distance_centers"])
        self.time_centers = torch.tensor(p["time_centers"])
        self.stage_times = torch.tensor(peer.stage_times(), dtype=torch.float32)
        self.num_cells = num_cells
        self.cell_width = peer.table_max(p) / num_cells
        self.nodes = torch.arange(num_cells + 1, dtype=torch.float32) * self.cell_width

    def cell_coefficients(self):
        """Coefficients of phi on each cell as a cubic in f in [0, 1): four tensors [S, cells], S stage times."""
        q = self.trained
        inv_gamma = torch.exp(-q["distance_log_gammas"])
        scaled = (self.nodes[:, None] - self.distance_centers) * inv_gamma
        g = torch.exp(-(scaled**2))
        dg = -2.0 * scaled * inv_gamma * g
        norm = peer.RBF_EPSILON + g.sum(dim=1, keepdim=True)
        rbf = g / norm
        drbf = (dg - rbf * dg.sum(dim=1, keepdim=True)) / norm

        scaled_time = (self.stage_times[:, None] - self.time_centers) * torch.exp(-q["time_log_gammas"])
        time_g = torch.exp(-(scaled_time**2))
        time_rbf = time_g / (peer.RBF_EPSILON + time_g.sum(dim=1, keepdim=True))
        weights = time_rbf @ q["weights"].t()  # [S, K]
        offset = weights @ q["importance"] ** 2 + time_rbf @ q["bias"]

        value = weights @ rbf.t() + offset[:, None]  # [S, cells + 1]
        slope = (weights @ drbf.t()) * self.cell_width
        left, right = value[:, :-1], value[:, 1:]
        left_slope, right_slope = slope[:, :-1], slope[:, 1:]
        return (
            left,
            left_slope,
            3.0 * (right - left) - 2.0 * left_slope - right_slope,
            2.0 * (left - right) + left_slope + right_slope,
        )


def rk4(field, tables, x, log_det, direction):
    """tables: one entry per stage time j / (2 NUM_STEPS)."""
    h = direction / peer.NUM_STEPS
    for step in range(peer.NUM_STEPS):
        begin = 2 * step if direction > 0 else 2 * (peer.NUM_STEPS - step)
        mid, end = begin + direction, begin + 2 * direction
        k1, l1 = field(tables[begin], x)
        k2, l2 = field(tables[mid], torch.add(x, k1, alpha=h / 2))
        k3, l3 = field(tables[mid], torch.add(x, k2, alpha=h / 2))
        k4, l4 = field(tables[end], torch.add(x, k3, alpha=h))
        x = torch.add(x, k1 + 2.0 * (k2 + k3) + k4, alpha=h / 6)
        log_det = torch.add(log_det, l1 + 2.0 * (l2 + l3) + l4, alpha=h / 6)
    return x, log_det


class Idiomatic:
    """x [B, N, D]; the table of a stage is [cells, 4]."""

    def __init__(self, system, num_cells=NUM_CELLS):
        self.system = system
        self.num_cells = num_cells
        self.i, self.j = torch.triu_indices(system.num_particles, system.num_particles, 1)

    def tables(self, params):
        self.inv_width = 1.0 / params.cell_width
        return torch.stack(params.cell_coefficients(), dim=-1).unbind(0)

    def field(self, table, x):
        r = x[:, self.i] - x[:, self.j]
        u = torch.clamp(r.square().sum(dim=-1).sqrt() * self.inv_width, max=self.num_cells * (1.0 - 1e-7))
        cell = u.detach().long()
        f = u - cell
        c0, c1, c2, c3 = table[cell].unbind(-1)
        phi = c0 + f * (c1 + f * (c2 + f * c3))
        dphi = c1 + f * (2.0 * c2 + 3.0 * f * c3)
        force = r * phi.unsqueeze(-1)
        velocity = torch.zeros_like(x).index_add(1, self.i, force).index_add(1, self.j, force, alpha=-1)
        return velocity, 2.0 * (u * dphi + self.system.space_dim * phi).sum(dim=1)

    def load(self, x):
        """[B, N, D] -> this style's layout."""
        return x

    def solve(self, tables, x, direction):
        return rk4(self.field, tables, x, torch.zeros(len(x)), direction)

    def square(self, x):
        return x.square().sum(dim=(1, 2))

    def draw(self, batch):
        z = torch.randn(batch, self.system.num_particles, self.system.space_dim)
        return z - z.mean(dim=1, keepdim=True)

    def store(self, x):
        return x


class Tuned:
    """x [D*N, B]; the table of a stage is a tuple of four [cells]."""

    def __init__(self, system, num_cells=NUM_CELLS):
        self.system = system
        self.num_cells = num_cells
        n, dim = system.num_particles, system.space_dim
        i, j = torch.triu_indices(n, n, 1)
        self.num_pairs = len(i)
        rows = torch.arange(dim)[:, None] * n
        self.rows_i = (rows + i).flatten()
        self.rows_j = (rows + j).flatten()
        incidence = torch.zeros(self.num_pairs, n)
        incidence[torch.arange(self.num_pairs), i] = 1.0
        incidence[torch.arange(self.num_pairs), j] = -1.0
        self.incidence_t = incidence.t().contiguous()
        self.ones = torch.ones(1, self.num_pairs)
        self.buffers = {}

    def tables(self, params):
        self.inv_width = 1.0 / params.cell_width
        return list(zip(*(c.unbind(0) for c in params.cell_coefficients())))

    def buffer(self, name, *shape, dtype=torch.float32):
        key = (name, shape)
        if key not in self.buffers:
            self.buffers[key] = torch.empty(shape, dtype=dtype)
        return self.buffers[key]

    def pair_differences(self, x, out):
        """[D*N, B] -> [D*P, B]."""
        other = self.buffer("other", *out.shape)
        torch.index_select(x, 0, self.rows_i, out=out)
        torch.index_select(x, 0, self.rows_j, out=other)
        return out.sub_(other)

    def add_pairs(self, force, out):
        """[D*P, B] -> [D*N, B]: plus for particle i, minus for j, as a matrix product with the incidence matrix."""
        n = self.system.num_particles
        for d in range(self.system.space_dim):
            torch.mm(
                self.incidence_t, force[d * self.num_pairs : (d + 1) * self.num_pairs], out=out[d * n : (d + 1) * n]
            )
        return out

    def evaluate(self, table, x, keep=False):
        """Velocity and divergence; keep also gives what the backward pass needs, in fresh tensors."""
        dim, batch, pairs = self.system.space_dim, x.shape[1], self.num_pairs
        new = (lambda name, *shape: torch.empty(shape)) if keep else self.buffer
        r = self.pair_differences(x, new("r", dim * pairs, batch))
        parts = r.split(pairs)
        u = torch.mul(parts[0], parts[0], out=new("u", pairs, batch))
        for part in parts[1:]:
            u.addcmul_(part, part)
        u.sqrt_().mul_(self.inv_width).clamp_(max=self.num_cells * (1.0 - 1e-7))
        cell = u.int()
        f = torch.frac(u, out=new("f", pairs, batch))
        flat = cell.view(-1)
        c0, c1, c2, c3 = (
            torch.index_select(c, 0, flat, out=make(f"c{k}", pairs * batch)).view(pairs, batch)
            for k, (c, make) in enumerate(zip(table, (self.buffer, self.buffer, new, new)))
        )
        # phi = c0 + f (c1 + f (c2 + f c3));  u phi'(u) = u (c1 + f (2 c2 + 3 f c3))
        inner = torch.addcmul(c2, f, c3, out=self.buffer("inner", pairs, batch))  # c2 + f c3
        slope = torch.addcmul(inner, f, c3, value=2.0, out=new("slope", pairs, batch)).add_(c2).mul_(f).add_(c1)
        phi = torch.mul(inner, f, out=new("phi", pairs, batch)).add_(c1).mul_(f).add_(c0)
        density = torch.mul(phi, dim, out=self.buffer("density", pairs, batch)).addcmul_(u, slope)
        divergence = torch.mm(self.ones, density).mul_(2.0).view(-1)
        force = self.buffer("force", dim * pairs, batch)
        torch.mul(r.view(dim, pairs, batch), phi, out=force.view(dim, pairs, batch))
        velocity = self.add_pairs(force, torch.empty_like(x))
        return velocity, divergence, (r, u, flat, f, c2, c3, slope, phi)

    def backward(self, saved, adjoint_velocity, adjoint_divergence):
        """The transpose of evaluate: adjoints of x and of the four coefficient tables."""
        r, u, flat, f, c2, c3, slope, phi = saved
        dim, (pairs, batch) = self.system.space_dim, u.shape
        adjoint_force = self.pair_differences(adjoint_velocity, self.buffer("adjoint_force", dim * pairs, batch))
        product = torch.mul(adjoint_force, r, out=self.buffer("force", dim * pairs, batch)).split(pairs)
        adjoint_phi = self.buffer("adjoint_phi", pairs, batch)
        torch.add(product[0], product[1], out=adjoint_phi)
        for part in product[2:]:
            adjoint_phi.add_(part)
        # divergence = 2 sum (u slope + D phi), d slope / d u = 2 c2 + 6 f c3
        density = 2.0 * adjoint_divergence
        torch.add(adjoint_phi, density, alpha=dim, out=adjoint_phi)
        adjoint_slope = torch.mul(u, density, out=self.buffer("adjoint_slope", pairs, batch))
        curvature = torch.addcmul(c2, f, c3, value=3.0, out=self.buffer("curvature", pairs, batch)).mul_(2.0)
        adjoint_u = torch.mul(adjoint_phi, slope, out=self.buffer("adjoint_u", pairs, batch))
        adjoint_u.addcmul_(adjoint_slope, curvature).addcmul_(slope, density)

        moment = self.buffer("moment", pairs, batch)
        bins = self.num_cells
        tables = [torch.bincount(flat, weights=adjoint_phi.view(-1), minlength=bins)]
        power = adjoint_slope  # adjoint of coefficient n: f^n adjoint_phi + n f^(n-1) adjoint_slope
        value = adjoint_phi
        for n in (1, 2, 3):
            value.mul_(f)
            torch.add(value, power, alpha=n, out=moment)
            tables.append(torch.bincount(flat, weights=moment.view(-1), minlength=bins))
            if n < 3:
                power.mul_(f)
        # d = u width, so d u / d r = r / (width^2 u)
        adjoint_u.mul_(self.inv_width * self.inv_width).div_(u)
        adjoint_r = adjoint_force.view(dim, pairs, batch).mul_(phi)
        adjoint_r.addcmul_(r.view(dim, pairs, batch), adjoint_u)
        adjoint_x = self.add_pairs(adjoint_r.view(dim * pairs, batch), torch.empty_like(adjoint_velocity))
        return adjoint_x, [t.float() for t in tables]

    def field(self, table, x):
        if torch.is_grad_enabled():
            return FieldFunction.apply(self, x, *table)
        velocity, divergence, _ = self.evaluate(table, x)
        return velocity, divergence

    def load(self, x):
        return x.permute(2, 1, 0).reshape(-1, len(x)).contiguous()

    def solve(self, tables, x, direction):
        return rk4(self.field, tables, x, torch.zeros(x.shape[1]), direction)

    def square(self, x):
        return x.square().sum(dim=0)

    def draw(self, batch):
        z = torch.randn(self.system.space_dim, self.system.num_particles, batch)
        return (z - z.mean(dim=1, keepdim=True)).view(-1, batch)

    def store(self, x):
        return x.view(self.system.space_dim, self.system.num_particles, -1).permute(2, 1, 0).contiguous()


class FieldFunction(torch.autograd.Function):
    """Tuned.evaluate with its handwritten backward."""

    @staticmethod
    def forward(ctx, style, x, *table):
        velocity, divergence, saved = style.evaluate(table, x, keep=True)
        ctx.style = style
        ctx.save_for_backward(*saved)
        return velocity, divergence

    @staticmethod
    def backward(ctx, adjoint_velocity, adjoint_divergence):
        adjoint_x, tables = ctx.style.backward(ctx.saved_tensors, adjoint_velocity.contiguous(), adjoint_divergence)
        return (None, adjoint_x, *tables)


STYLES = {"idiomatic": Idiomatic, "tuned": Tuned}


def sample(style, tables, z):
    with torch.no_grad():
        x, log_det = style.solve(tables, z, +1)
        return style.store(x), -0.5 * style.square(z) - peer.prior_constant(style.system) - log_det


def nll_mean(style, params, x):
    """Mean negative log-likelihood of x in the style's layout, tables included in the graph."""
    z, log_det = style.solve(style.tables(params), x, -1)
    return (0.5 * style.square(z) - log_det).mean() + peer.prior_constant(style.system)


class TablePeer(peer.Peer):
    def __init__(self, style, num_cells):
        self.style = style
        self.num_cells = num_cells
        self.name = {"idiomatic": "torch_table", "tuned": "torch_table_tuned"}[style]

    def versions(self):
        return {
            **super().versions(),
            "torch": torch.__version__,
            "torch_threads": torch.get_num_threads(),
            "cells": self.num_cells,
        }

    def best_batch(self, task, system):
        return {"dw4": 1024, "lj13": 256, "lj55": 32}[system.name]

    def prepare(self, task, system, batch):
        torch.manual_seed(0)
        style = STYLES[self.style](system, self.num_cells)
        p = peer.parameters(system)
        if task == "sample":
            with torch.no_grad():
                tables = style.tables(Params(p, self.num_cells, requires_grad=False))

            def call():
                _, log_prob = sample(style, tables, style.draw(batch))
                return log_prob.mean().item()

            return call

        params = Params(p, self.num_cells, requires_grad=True)
        data = torch.tensor(peer.prior_sample(system, 4 * batch, seed=5))
        adam = torch.optim.Adam(params.trained.values(), lr=peer.LEARNING_RATE)

        def call():
            adam.zero_grad()
            loss = nll_mean(style, params, style.load(data[torch.randint(len(data), (batch,))]))
            loss.backward()
            adam.step()
            return loss.item()

        return call

    def check(self):
        def check_sample(system, p, z):
            style = STYLES[self.style](system, self.num_cells)
            with torch.no_grad():
                tables = style.tables(Params(p, self.num_cells, requires_grad=False))
            x, log_prob = sample(style, tables, style.load(torch.tensor(z)))
            return x.numpy(), log_prob.numpy()

        def check_gradient(system, p, x):
            style = STYLES[self.style](system, self.num_cells)
            params = Params(p, self.num_cells, requires_grad=True)
            loss = nll_mean(style, params, style.load(torch.tensor(x)))
            loss.backward()
            return loss.item(), {name: t.grad.numpy() for name, t in params.trained.items()}

        return peer.check(self.name, check_sample, check_gradient)


def add_options(parser):
    parser.add_argument("--style", choices=sorted(STYLES), default="idiomatic", help="see above (default idiomatic)")
    parser.add_argument("--cells", type=int, default=NUM_CELLS, help=f"cells of the table (default {NUM_CELLS})")


def make_peer(options):
    torch.set_num_threads(options.threads)
    return TablePeer(options.style, options.cells)


if __name__ == "__main__":
    peer.main(__doc__, make_peer, lambda p: p.check(), add_options)
