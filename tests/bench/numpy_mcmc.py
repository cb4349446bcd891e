#!/usr/bin/env python3
"""Peer: vectorised Metropolis in NumPy for the Lennard-Jones presets, many chains at once.

A sweep proposes one Gaussian displacement for each particle in turn, in all chains at the same time; a measurement's
unit is one chain-sweep, the batch is the number of chains. float32, chains last in memory. The energy of each pair is
kept, so that a move costs one row of new pairs. Energy (docs/method.md, section 5), r_m = 1, trap strength 1, kT = 1:

    u(x) = eps sum_{i<j} [ d^-12 - 2 d^-6 ] + 0.5 sum_i |x_i - x_com|^2,  eps = 2
"""

import numpy as np

import peer

EPSILON = 2.0


def energy(x):
    """Reference, float64: x [B, N, D] -> [B]."""
    x = x.astype(np.float64)
    n = x.shape[1]
    i, j = np.triu_indices(n, 1)
    inverse6 = ((x[:, i] - x[:, j]) ** 2).sum(axis=-1) ** -3.0
    centred = x - x.mean(axis=1, keepdims=True)
    return EPSILON * (inverse6**2 - 2.0 * inverse6).sum(axis=1) + 0.5 * (centred**2).sum(axis=(1, 2))


class Chains:
    def __init__(self, system, num_chains, seed, step_size=0.09, start=None):
        self.n, self.dim, self.num_chains = system.num_particles, system.space_dim, num_chains
        self.rng = np.random.Generator(np.random.SFC64(seed))
        self.step_size = np.float32(step_size)
        if start is None:
            # Points of a cubic lattice with spacing r_m, shaken: no overlaps, so that energies start finite.
            side = int(np.ceil(self.n ** (1.0 / self.dim)))
            lattice = np.stack(np.meshgrid(*[np.arange(side)] * self.dim, indexing="ij"), axis=-1).reshape(-1, self.dim)
            near = np.argsort(((lattice - (side - 1) / 2.0) ** 2).sum(axis=1), kind="stable")[: self.n]
            start = lattice[near] + 0.05 * self.rng.standard_normal((num_chains, self.n, self.dim))
        start = start - start.mean(axis=1, keepdims=True)
        self.x = np.ascontiguousarray(start.transpose(1, 2, 0), dtype=np.float32)  # [N, D, C]
        self.center = self.x.mean(axis=0)  # [D, C]
        self.pair = np.empty((self.n, self.n, num_chains), dtype=np.float32)  # energies; [i, i] = 0
        for i in range(self.n):
            self.pair[i] = self.row(i, self.x[i])
        self.num_accepted = 0
        self.num_proposed = 0

    def row(self, i, at):
        """Pair energies [N, C] of particle i placed at `at` [D, C] with all others; 0 with itself."""
        difference = self.x - at
        np.multiply(difference, difference, out=difference)
        square = difference.sum(axis=1)
        square[i] = 1.0
        cube = square * square
        cube *= square
        inverse6 = np.divide(np.float32(1.0), cube, out=cube)
        row = inverse6 - np.float32(2.0)
        row *= inverse6
        row *= np.float32(EPSILON)
        row[i] = 0.0
        return row

    def sweep(self):
        n, chains = self.n, self.num_chains
        shifts = self.rng.standard_normal((n, self.dim, chains), dtype=np.float32)
        shifts *= self.step_size
        # accept if u < exp(-dE), that is if dE < -ln u: an exponential variate
        thresholds = self.rng.standard_exponential((n, chains), dtype=np.float32)
        for i in range(n):
            shift = shifts[i]
            at = self.x[i] + shift
            row = self.row(i, at)
            # trap: 0.5 sum |x|^2 - 0.5 N |center|^2, and the center moves by shift / N
            center = self.center + shift / np.float32(n)
            moved = center * center - self.center * self.center
            trap = (at * at - self.x[i] * self.x[i] - np.float32(n) * moved).sum(axis=0)
            change = row.sum(axis=0) - self.pair[i].sum(axis=0) + np.float32(0.5) * trap
            accepted = change < thresholds[i]
            np.copyto(self.x[i], at, where=accepted)
            np.copyto(self.center, center, where=accepted)
            np.copyto(self.pair[i], row, where=accepted)
            np.copyto(self.pair[:, i], row, where=accepted)
            self.num_accepted += int(np.count_nonzero(accepted))
        self.num_proposed += n * chains

    def energies(self):
        """[C], from the pair energies kept."""
        trap = (self.x**2).sum(axis=(0, 1)) - self.n * (self.center**2).sum(axis=0)
        return 0.5 * self.pair.sum(axis=(0, 1)) + 0.5 * trap

    def configurations(self):
        return self.x.transpose(2, 0, 1)


class McmcPeer(peer.Peer):
    name = "numpy_mcmc"
    tasks = ("mcmc",)

    def best_batch(self, task, system):
        return 4096

    def prepare(self, task, system, batch):
        if system.name not in ("lj13", "lj55"):
            raise ValueError(f"{self.name} has the Lennard-Jones systems only, not {system.name}")
        chains = Chains(system, batch, seed=0)

        def call():
            chains.sweep()
            return float(chains.energies().mean())

        return call


def check(_peer):
    """The energies kept against the reference; the equilibrium mean against the known -42.945 (docs/method.md)."""
    system = peer.SYSTEMS["lj13"]
    chains = Chains(system, 500, seed=1)
    for _ in range(1500):
        chains.sweep()
    drift = np.abs(chains.energies() - energy(chains.configurations())).max()
    means = []
    for _ in range(1500):
        chains.sweep()
        means.append(chains.energies())
    per_chain = np.mean(means, axis=0)
    mean, error = per_chain.mean(), per_chain.std() / np.sqrt(len(per_chain))
    acceptance = chains.num_accepted / chains.num_proposed
    failures = 0
    for what, value, bound in (
        ("energy kept against float64 (kT)", drift, 2e-3),
        (f"mean energy {mean:.3f} against -42.945, in kT", abs(mean + 42.945), 4.0 * error + 0.001 * 42.945),
        (f"acceptance {acceptance:.3f} against 0.4", abs(acceptance - 0.4), 0.2),
    ):
        ok = bool(value <= bound)
        failures += not ok
        print(f"numpy_mcmc lj13 {what}: error {value:.2e}, bound {bound:.1e}: {'ok' if ok else 'FAILED'}")
    return failures


if __name__ == "__main__":
    peer.main(__doc__, lambda options: McmcPeer(), check)
