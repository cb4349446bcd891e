"""Potentials: reduced energies u = U/kT and forces of configurations."""

from __future__ import annotations

import ctypes
import pathlib
from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _declarations as declarations
from ._library import Context, Progress, configurations, default_context, doubles, floats, initial, library, unbatch


class Chains(NamedTuple):
    """Equilibrium configurations of `mcmc`."""

    x: NDArray[np.float32]  # [n, N, D], centres of mass at 0
    energy: NDArray[np.float32]  # [n], kT
    diagnostics: dict[str, float]


class Minima(NamedTuple):
    """Distinct minima, lowest first."""

    energy: NDArray[np.float64]  # [M], kT
    count: NDArray[np.int64]  # [M]: configurations that fell there
    x: NDArray[np.float64]  # [M, N, D]: one of each
    minimum_of: NDArray[np.int64]  # [n]: of each configuration; -1: it ended in none
    quenched: NDArray[np.float64]  # [n, N, D]


class Potential:
    """A potential of N particles in D dimensions; make one with `eqflow.potential`."""

    def __init__(self, options: Any, texts: list[bytes], preset: str = "", context: Optional[Context] = None):
        self._options = options
        self._texts = texts  # what the options point to
        self.preset = preset
        self._context = context or default_context()
        self._context.call(library().eqf_potential_check, self._context.pointer, options)

    @property
    def num_particles(self) -> int:
        return int(self._options.num_particles)

    @property
    def space_dim(self) -> int:
        return int(self._options.space_dim)

    @property
    def kind(self) -> str:
        return library().eqf_potential_kind_name(self._options.kind).decode()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in dict(declarations.eqf_potential_options._fields_):
            raise AttributeError(name)
        value = getattr(self._options, name)
        if not isinstance(value, (int, float)):
            raise AttributeError(name)
        return value

    def __repr__(self) -> str:
        return f"<eqflow.Potential {self.preset or self.kind}: {self.num_particles} particles in {self.space_dim} dimensions, T = {self.temperature:g}>"

    def energy(self, x: ArrayLike) -> Any:
        """u(x) [B] in kT (float32) of x [B, N, D]; a number of x [N, D]."""
        array, is_single = configurations(x, self.num_particles, self.space_dim)
        out = np.empty(len(array), np.float32)
        c = self._context
        c.call(library().eqf_potential_evaluate, c.device, self._options, len(array), floats(array), floats(out), None)
        return unbatch(out, is_single)

    def force(self, x: ArrayLike) -> Any:
        """-grad u [B, N, D], kT per length, of x [B, N, D] (or one configuration)."""
        array, is_single = configurations(x, self.num_particles, self.space_dim)
        out = np.empty_like(array)
        c = self._context
        c.call(library().eqf_potential_evaluate, c.device, self._options, len(array), floats(array), None, floats(out))
        return unbatch(out, is_single)

    def verify(self) -> float:
        """Compares the gradient of an own text with its energy; the worst relative deviation."""
        error = ctypes.c_double()
        self._context.call(library().eqf_potential_verify, self._context.device, self._options, error)
        return error.value

    def symmetry(self) -> dict[str, bool]:
        """Which of permutation, rotation, reflection, translation leave the energy as it is; found on random configurations."""
        found = initial(declarations.eqf_potential_symmetry)
        self._context.call(library().eqf_potential_find_symmetry, self._context.device, self._options, found)
        return {name: bool(getattr(found, f"has_{name}")) for name in ("permutation", "rotation", "reflection", "translation")}

    def mcmc(self, n: int, *, seed: int = 0, chains: int = 0, burn_in: int = 0, thinning: int = 0, progress: bool = False) -> Chains:
        """n equilibrium configurations by Metropolis Monte Carlo; 0 means the library's (or preset's) default."""
        options = initial(declarations.eqf_mcmc_options)
        preset = library().eqf_preset_find(self.preset.encode()) if self.preset else None
        if preset:
            ctypes.memmove(ctypes.byref(options), preset.contents.mcmc, ctypes.sizeof(options))
        options.seed = seed
        for name, value in (("num_chains", chains), ("num_burn_in", burn_in), ("thinning", thinning)):
            if value:
                setattr(options, name, value)
        x = np.empty((n, self.num_particles, self.space_dim), np.float32)
        energy = np.empty(n, np.float32)
        diagnostics = initial(declarations.eqf_mcmc_diagnostics)
        c = self._context
        with Progress("Monte Carlo", progress) as bar:
            c.call(library().eqf_mcmc_sample, c.device, self._options, options, n, floats(x), floats(energy), diagnostics, progress=bar)
        names = [name for name, _ in diagnostics._fields_ if name not in ("struct_size", "reserved")]
        return Chains(x, energy, {name: getattr(diagnostics, name) for name in names})

    def minima(self, x: Union[ArrayLike, int] = 1000, *, seed: int = 0, progress: bool = False) -> Minima:
        """Quenches configurations x [n, N, D], or so many random starts, and groups what is equal up to symmetry."""
        lib, c = library(), self._context
        if isinstance(x, int):
            starts = np.empty((x, self.num_particles, self.space_dim), np.float32)
            c.call(lib.eqf_minima_random_starts, c.pointer, self._options, seed, 0, x, floats(starts))
        else:
            starts, _ = configurations(x, self.num_particles, self.space_dim)
        n = len(starts)
        quenched = np.empty(starts.shape, np.float64)
        energy = np.empty(n, np.float64)
        result = (ctypes.c_int * max(n, 1))()
        with Progress("quench", progress) as bar:
            c.call(lib.eqf_minima_quench, c.device, self._options, initial(declarations.eqf_quench_options), n, floats(starts), doubles(quenched),
                   doubles(energy), None, result, None, progress=bar)
        groups = ctypes.POINTER(declarations.eqf_minimum)()
        num_groups = ctypes.c_size_t()
        minimum_of = (ctypes.c_size_t * max(n, 1))()
        c.call(lib.eqf_minima_group, c.pointer, self._options, initial(declarations.eqf_minima_group_options), n, doubles(quenched), doubles(energy),
               result, groups, num_groups, minimum_of)
        try:
            rows = [groups[g] for g in range(num_groups.value)]
            representatives = [row.representative for row in rows]
            return Minima(np.array([row.energy for row in rows]), np.array([row.count for row in rows], np.int64),
                          quenched[representatives].copy(), np.array(minimum_of[:n], np.uint64).astype(np.int64), quenched)
        finally:
            lib.eqf_free(groups)


class PythonPotential:
    """A potential that is a Python function, for experiments: slow (one call a configuration). It has energies, forces by differences and a small Monte
    Carlo, and `Model.evaluate` reweights to it. Whatever runs on the device (training, minima, annealing) needs an OpenCL text instead
    (`eqflow.potential(text=...)`)."""

    def __init__(self, function: Callable[[NDArray], float], num_particles: int, space_dim: int):
        self.function, self.num_particles, self.space_dim = function, num_particles, space_dim

    def energy(self, x: ArrayLike) -> Any:
        """[B] of x [B, N, D]: what the function gives for each."""
        array, is_single = configurations(x, self.num_particles, self.space_dim)
        return unbatch(np.array([self.function(one.astype(np.float64)) for one in array]), is_single)

    def force(self, x: ArrayLike, step: float = 1e-5) -> Any:
        """By central differences: 2 N D calls a configuration."""
        array, is_single = configurations(x, self.num_particles, self.space_dim)
        out = np.empty(array.shape)
        for b, one in enumerate(array.astype(np.float64)):
            for place in np.ndindex(one.shape):
                above, below = one.copy(), one.copy()
                above[place] += step
                below[place] -= step
                out[(b, *place)] = -(self.function(above) - self.function(below)) / (2 * step)
        return unbatch(out, is_single)


    def mcmc(self, n: int, *, seed: int = 0, burn_in: int = 1000, thinning: int = 10, step: float = 0.5) -> Chains:
        """n configurations of one Metropolis chain from a random start; burn_in and thinning in sweeps of N calls of the function each. step: the largest
        move of a coordinate, adapted while it burns in."""
        g, x, energy = np.random.default_rng(seed), None, np.inf
        while not np.isfinite(energy):
            x = g.normal(0, 2 * step, (self.num_particles, self.space_dim))
            energy = float(self.function(x))
        kept, energies, accepted = np.empty((n, *x.shape), np.float32), np.empty(n, np.float32), 0
        for sweep in range(burn_in + n * thinning):
            taken = 0
            for i in range(self.num_particles):
                moved = x.copy()
                moved[i] += g.uniform(-step, step, self.space_dim)
                new = float(self.function(moved))
                if np.log(g.uniform()) < energy - new:
                    x, energy, taken = moved, new, taken + 1
            if sweep < burn_in:
                step *= np.exp(0.1 * (taken / self.num_particles - 0.4))
                continue
            accepted += taken
            if (sweep - burn_in) % thinning == thinning - 1:
                kept[(sweep - burn_in) // thinning], energies[(sweep - burn_in) // thinning] = x - x.mean(axis=0), energy
        return Chains(kept, energies, {"acceptance": accepted / (n * thinning * self.num_particles), "step": step})


def presets() -> list[str]:
    """The names of the systems that come with the library."""
    num = ctypes.c_size_t()
    rows = library().eqf_presets(num)
    return [rows[i].name.decode() for i in range(num.value)]


def potential(name: str = "", *, text: Union[str, pathlib.Path, None] = None, function: Optional[Callable] = None, num_particles: int = 0,
              space_dim: int = 0, constants: Optional[dict[str, float]] = None, context: Optional[Context] = None,
              **options: float) -> Any:
    """A potential: `potential("lj13")`, `potential("lj13", epsilon=1, temperature=1.2)`, or one of your own.

    text: OpenCL C with energy and energy_gradient (docs/potentials.md), as a string or the path of a file; needs num_particles and space_dim unless a
    preset gives them. constants: macros of that text. function: a Python function of one configuration [N, D] (slow; see PythonPotential).
    options: constants by their names in eqf_potential_options, such as temperature, epsilon, r_min, trap_strength, length."""
    if function is not None:
        return PythonPotential(function, num_particles, space_dim)
    lib, c = library(), context or default_context()
    struct = initial(declarations.eqf_potential_options)
    texts: list[bytes] = []
    if name:
        preset = lib.eqf_preset_find(name.encode())
        if not preset:
            raise ValueError(f"unknown preset '{name}'; there are {', '.join(presets())}")
        struct = type(struct).from_buffer_copy(preset.contents.model.contents.potential)
    elif text is None:
        raise ValueError("give the name of a preset, text=, or function=")
    if num_particles:
        struct.num_particles = num_particles
    if space_dim:
        struct.space_dim = space_dim
    if text is not None:
        path = pathlib.Path(text) if isinstance(text, pathlib.Path) or "\n" not in str(text) else None
        texts = [path.read_bytes() if path else str(text).encode(), (path.name if path else "potential.cl").encode()]
        struct.kind = declarations.EQF_POTENTIAL_USER
        struct.source, struct.source_name = texts
        name = ""
    fields = dict(declarations.eqf_potential_options._fields_)
    for key, value in options.items():
        if key not in fields or key in ("struct_size", "kind", "source", "source_name", "reserved"):
            raise TypeError(f"potential() has no option '{key}'")
        setattr(struct, key, value)
    for key, value in (constants or {}).items():
        c.call(lib.eqf_potential_set_constant, c.pointer, struct, key.encode(), value)
    return Potential(struct, texts, name, c)
