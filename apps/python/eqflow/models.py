"""Models: a prior, a field and an integrator with their parameters; samples, densities, trajectories."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _declarations as declarations
from ._library import (Context, EqflowError, Progress, centred, check_status, configurations, default_context, doubles, floats, initial, library, unbatch)
from .potentials import Potential


class Samples(NamedTuple):
    x: NDArray[np.float32]  # [n, N, D]
    log_prob: NDArray[np.float32]  # [n], nats, normalised on the mean-free subspace


class Trajectory(NamedTuple):
    """A way from prior to data, at the integrator's steps."""

    t: NDArray[np.float64]  # [F], 0 ... 1
    x: NDArray[np.float32]  # [F, B, N, D]
    log_prob: NDArray[np.float32]  # [F, B]: log q_t of each configuration at its time
    velocity: NDArray[np.float32]  # [F, B, N, D]


class Evaluation(NamedTuple):
    """Importance weights of a model's samples against a potential. Nats, kT."""

    ess_fraction: float
    max_weight_fraction: float
    log_z: float
    log_z_standard_error: float
    mean_energy: float
    mean_energy_standard_error: float
    log_weights: NDArray[np.float64]  # [n]: -u - log_prob
    samples: Samples
    energy: NDArray[np.float32]
    figures: dict[str, float]  # with data: those of `eqflow evaluate`; NaN where one could not be had
    warnings: list[str]  # with data: what makes the figures doubtful, one line each


class Annealing(NamedTuple):
    """What annealed sequential Monte Carlo gives (docs/anneal.md)."""

    log_z: float
    log_z_standard_error: float
    mean_energy: float
    mean_energy_standard_error: float
    ess_fraction: float
    x: NDArray[np.float32]  # [n, N, D]: the walkers
    energy: NDArray[np.float32]
    log_weights: NDArray[np.float64]  # the mean of their exponentials is Z
    steps: list[dict[str, float]]
    num_independent: float  # independent walkers of a repeat; below 50, or
    energy_correlation: float  # before and after the last moves, above .95: the errors may be too small


class Model:
    """A flow with its parameters. Model.load, eqflow.train; save keeps it in one file."""

    def __init__(self, pointer: Any, context: Context):
        self._pointer, self._context, self._flow = pointer, context, None
        self._flow_options: dict[str, Any] = {}

    @classmethod
    def load(cls, path: Union[str, os.PathLike], context: Optional[Context] = None) -> "Model":
        """A model file, as `eqflow train` and `Model.save` write it, or "gallery:NAME", one that comes with the library."""
        c = context or default_context()
        pointer = ctypes.POINTER(declarations.eqf_model)()
        c.call(library().eqf_model_load, c.pointer, os.fsencode(path), pointer)
        return cls(pointer, c)

    def save(self, path: Union[str, os.PathLike]) -> None:
        """Atomic: the file is whole or as it was."""
        self._context.call(library().eqf_model_save, self._context.pointer, self._pointer, os.fsencode(path))

    def close(self) -> None:
        """Frees the device's memory; the model can no longer be used."""
        self._forget_flow()
        if self._pointer:
            with self._context._lock:
                library().eqf_model_destroy(self._pointer)
            self._pointer = None

    def _forget_flow(self) -> None:
        if self._flow is not None:
            with self._context._lock:
                library().eqf_flow_destroy(self._flow)
            self._flow = None

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            if self._pointer and self._context._pointer and os.getpid() == self._context._pid:
                self.close()
        except Exception:  # the interpreter may be ending
            pass

    # ---- What it is ------------------------------------------------------------------------------------------------

    @property
    def _options(self) -> Any:
        if not self._pointer:
            raise EqflowError("this model is closed")
        return library().eqf_model_options_of(self._pointer).contents

    @property
    def num_particles(self) -> int:
        return int(self._options.potential.num_particles)

    @property
    def space_dim(self) -> int:
        return int(self._options.potential.space_dim)

    @property
    def preset(self) -> str:
        return self._options.preset.decode()

    @property
    def num_steps(self) -> int:
        """Integration steps of its flow."""
        return int(self._flow_options.get("num_steps") or self._options.integrator.num_steps)

    @property
    def potential(self) -> Potential:
        """The target it was made for."""
        options = type(self._options.potential).from_buffer_copy(self._options.potential)
        texts = [text for text in (options.source, options.source_name) if text]
        if options.source:
            options.source = texts[0]
        return Potential(options, texts, self.preset, self._context)

    @property
    def params(self) -> NDArray[np.float32]:
        """All parameters [num_params], a copy; assign to set them."""
        lib = library()
        num = lib.eqf_model_num_params(self._pointer)
        return np.ctypeslib.as_array(lib.eqf_model_params(self._pointer), (num,)).copy()

    @params.setter
    def params(self, values: ArrayLike) -> None:
        lib = library()
        array = np.ascontiguousarray(values, np.float32)
        if array.shape != (lib.eqf_model_num_params(self._pointer),):
            raise ValueError(f"parameters of shape {array.shape}: expected ({lib.eqf_model_num_params(self._pointer)},)")
        self._context.call(lib.eqf_model_set_params, self._context.pointer, self._pointer, floats(array))
        self._forget_flow()  # a new one: the tables of the old one may be finer than these parameters ask for

    def slices(self) -> dict[str, NDArray[np.float32]]:
        """The parameters by name, each in its shape; copies."""
        lib, params, out = library(), self.params, {}
        for index in range(lib.eqf_model_num_slices(self._pointer)):
            s = lib.eqf_model_slice(self._pointer, index).contents
            out[s.name.decode()] = params[s.offset : s.offset + s.count].reshape(tuple(s.shape[: s.num_dims]))
        return out

    @property
    def history(self) -> list[dict[str, float]]:
        """Rows of the training history, oldest first."""
        num = ctypes.c_size_t()
        rows = library().eqf_model_history(self._pointer, num)
        names = [name for name, _ in declarations.eqf_history_row._fields_ if name not in ("struct_size", "reserved")]
        return [{name: getattr(rows[r], name) for name in names} for r in range(num.value)]

    # ---- The flow --------------------------------------------------------------------------------------------------

    def use(self, *, num_steps: int = 0, integrator: str = "rk4", rtol: float = 0, field_evaluation: str = "table") -> "Model":
        """How the flow is solved from now on: RK4 with num_steps equal steps (0: the model's own), or "dopri5" with rtol. Returns the model."""
        if integrator not in ("rk4", "dopri5") or field_evaluation not in ("table", "direct"):
            raise ValueError("integrator is 'rk4' or 'dopri5', field_evaluation 'table' or 'direct'")
        self._forget_flow()
        self._flow_options = {"num_steps": num_steps, "integrator": integrator, "rtol": rtol, "field_evaluation": field_evaluation}
        return self

    def _options_of_flow(self) -> Any:
        asked, options = self._flow_options, initial(declarations.eqf_flow_options)
        options.num_steps = asked.get("num_steps", 0)
        if asked.get("integrator") == "dopri5":
            options.method = declarations.EQF_INTEGRATOR_DOPRI5
            options.adaptive.rtol = asked.get("rtol", 0)
        if asked.get("field_evaluation") == "direct":
            options.field_evaluation = declarations.EQF_FIELD_DIRECT
        return options

    @property
    def flow(self) -> Any:
        """The library's eqf_flow *, made at first need."""
        with self._context._lock if self._flow is None else contextlib.nullcontext():
            return self._flow_of_now()

    def _flow_of_now(self) -> Any:
        if self._flow is None:
            lib, options = library(), self._options_of_flow()
            flow = ctypes.POINTER(declarations.eqf_flow)()
            self._context.call(lib.eqf_flow_create, self._context.device, self._pointer, options, flow)
            self._flow = flow
        self._context.pointer  # refuses after fork
        return self._flow

    def _batch(self, x: ArrayLike) -> tuple[NDArray[np.float32], bool]:
        return configurations(x, self.num_particles, self.space_dim)

    def sample(self, n: int, seed: int = 0, first: int = 0, *, progress: bool = False) -> Samples:
        """Samples first ... first + n - 1 of the stream `seed`, with exact log-densities: the program's, bit for bit."""
        x = np.empty((n, self.num_particles, self.space_dim), np.float32)
        log_prob = np.empty(n, np.float32)
        with Progress("sample", progress) as bar:
            self._context.call(library().eqf_flow_sample, self.flow, seed, first, n, floats(x), floats(log_prob), progress=bar)
        return Samples(x, log_prob)

    def log_prob(self, x: ArrayLike) -> Any:
        """Log-densities [B] of x [B, N, D], which are centred first: nats, normalised on configurations with their centre of mass at 0."""
        array, is_single = self._batch(x)
        array = centred(array)
        out = np.empty(len(array), np.float32)
        self._context.call(library().eqf_flow_log_prob, self.flow, len(array), floats(array), floats(out), None)
        return unbatch(out, is_single)

    def latent(self, x: ArrayLike) -> Any:
        """The latents z [B, N, D] that the flow takes to x."""
        array, is_single = self._batch(x)
        array = centred(array)
        log_prob, z = np.empty(len(array), np.float32), np.empty_like(array)
        self._context.call(library().eqf_flow_log_prob, self.flow, len(array), floats(array), floats(log_prob), floats(z))
        return unbatch(z, is_single)

    def forward(self, z: ArrayLike) -> tuple[Any, Any]:
        """(x, log_det) of latents z: prior to data; log_det = log|det dx/dz|."""
        array, is_single = self._batch(z)
        x, log_det = np.empty_like(array), np.empty(len(array), np.float32)
        self._context.call(library().eqf_flow_transform, self.flow, declarations.EQF_PRIOR_TO_DATA, len(array), floats(array), floats(x),
                                                         floats(log_det))
        return unbatch(x, is_single), unbatch(log_det, is_single)

    def prior_sample(self, n: int, seed: int = 0, first: int = 0) -> NDArray[np.float32]:
        """Latents z [n, N, D] of the mean-free Gaussian prior: those that sample(n, seed, first) starts from."""
        z = np.empty((n, self.num_particles, self.space_dim), np.float32)
        self._context.call(library().eqf_flow_prior_sample, self.flow, seed, first, n, floats(z))
        return z

    def prior_log_prob(self, z: ArrayLike) -> Any:
        """Log-densities [B] of latents z under the prior, nats."""
        array, is_single = self._batch(z)
        out = np.empty(len(array), np.float32)
        self._context.call(library().eqf_flow_prior_log_prob, self.flow, len(array), floats(array), floats(out))
        return unbatch(out, is_single)

    def _field(self, x: NDArray[np.float32], t: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        velocity, divergence = np.empty_like(x), np.empty(len(x), np.float32)
        self._context.call(library().eqf_flow_velocity, self.flow, t, len(x), floats(x), floats(velocity), floats(divergence))
        return velocity, divergence

    def velocity(self, x: ArrayLike, t: float) -> Any:
        """v(x, t) [B, N, D]; t a multiple of 1/(2 num_steps) with RK4, any in [0, 1] with dopri5."""
        array, is_single = self._batch(x)
        return unbatch(self._field(array, t)[0], is_single)

    def divergence(self, x: ArrayLike, t: float) -> Any:
        """div v(x, t) [B], exact."""
        array, is_single = self._batch(x)
        return unbatch(self._field(array, t)[1], is_single)

    def score(self, x: ArrayLike) -> Any:
        """grad_x log_prob(x) [B, N, D], mean-free."""
        array, is_single = self._batch(x)
        array = centred(array)
        log_prob, out = np.empty(len(array), np.float32), np.empty_like(array)
        self._context.call(library().eqf_flow_score, self.flow, len(array), floats(array), floats(log_prob), None, floats(out))
        return unbatch(out, is_single)

    def trajectory(self, z: ArrayLike, frames: Optional[int] = None) -> Trajectory:
        """The way of latents z [B, N, D] to the data, at the flow's RK4 steps: configurations, log-densities at their times, velocities.
        frames: how many, evenly spread over the steps, first and last among them; None: every step."""
        array, _ = self._batch(z)
        array, num_steps, lib = centred(array), self.num_steps, library()
        num_frames = num_steps + 1 if frames is None else frames
        if num_frames < 2:
            raise ValueError("a trajectory has at least 2 frames: its beginning and its end")
        x = np.empty((num_frames, *array.shape), np.float32)
        log_prob, velocity = np.empty((num_frames, len(array)), np.float32), np.empty_like(x)
        self._context.call(lib.eqf_flow_trajectory, self.flow, num_steps, len(array), floats(array), num_frames, floats(x), floats(log_prob),
                                                    floats(velocity))
        t = np.array([lib.eqf_flow_trajectory_step(num_steps, num_frames, f) for f in range(num_frames)]) / num_steps
        return Trajectory(t, x, log_prob, velocity)

    # ---- Answers ---------------------------------------------------------------------------------------------------

    def evaluate(self, n: int = 10000, *, seed: int = 0, potential: Any = None, data: Optional[ArrayLike] = None, progress: bool = False) -> Evaluation:
        """Reweights n samples to the potential (the model's own unless given; a PythonPotential will do): effective sample size, ln Z, mean energy.
        Errors are the delta method's; with an ess_fraction below some per cent only annealing can be believed.

        data: equilibrium configurations [B, N, D] that the model has not seen. Then it is the whole evaluation of `eqflow evaluate`, with `figures`
        (likelihood, twice the steps, ESS from data, invariance, ...; as in its JSON), errors by bootstrap, and `warnings` of what makes them doubtful."""
        target = potential or self.potential
        if data is not None:
            return self._evaluate_with_data(n, seed, target, data, progress)
        samples = self.sample(n, seed, progress=progress)
        energy = np.asarray(target.energy(samples.x), np.float32)
        log_weights, summary = np.empty(n), initial(declarations.eqf_weight_summary)
        lib = library()
        check_status(lib.eqf_estimate_log_weights(n, floats(energy), floats(samples.log_prob), doubles(log_weights)))
        check_status(lib.eqf_estimate_weights(n, doubles(log_weights), summary))
        mean, error = ctypes.c_double(), ctypes.c_double()
        energies = np.where(np.isfinite(energy), energy, 0).astype(np.float64)
        check_status(lib.eqf_estimate_reweighted_mean(n, doubles(log_weights), doubles(energies), mean, error))
        return Evaluation(summary.ess_fraction, summary.max_weight_fraction, summary.log_z, summary.log_z_standard_error, mean.value, error.value,
                          log_weights, samples, energy, {}, [])

    def _evaluate_with_data(self, n: int, seed: int, target: Any, data: ArrayLike, progress: bool) -> Evaluation:
        if not isinstance(target, Potential):
            raise TypeError("an evaluation with data needs a potential of the library or an OpenCL text")
        lib, c = library(), self._context
        x = centred(self._batch(data)[0])
        options = initial(declarations.eqf_evaluation_options)
        options.num_samples, options.seed = n, seed
        options.target = ctypes.pointer(target._options)
        options.flow = ctypes.pointer(self._options_of_flow())
        evaluation = ctypes.POINTER(declarations.eqf_evaluation)()
        with Progress("evaluate", progress) as bar:
            c.call(lib.eqf_evaluate, c.device, self._pointer, options, len(x), floats(x), evaluation, progress=bar)
        try:
            f = lib.eqf_evaluation_figures_of(evaluation).contents
            figures = {name: value for name, _ in f._fields_ if isinstance(value := getattr(f, name), (int, float)) and name != "struct_size"}
            warnings = [lib.eqf_evaluation_warning_at(evaluation, i).contents.text.decode() for i in range(lib.eqf_evaluation_num_warnings(evaluation))]
            num, shape = f.num_samples, (f.num_samples, self.num_particles, self.space_dim)
            copied = lambda view, shape: np.ctypeslib.as_array(view, shape).copy()
            samples = Samples(copied(lib.eqf_evaluation_samples(evaluation), shape), copied(lib.eqf_evaluation_sample_log_probs(evaluation), (num,)))
            return Evaluation(f.ess_fraction, f.max_weight_fraction, f.log_z, f.log_z_standard_error, f.mean_energy_reweighted,
                              f.mean_energy_reweighted_standard_error, copied(lib.eqf_evaluation_log_weights(evaluation), (num,)), samples,
                              copied(lib.eqf_evaluation_sample_energies(evaluation), (num,)), figures, warnings)
        finally:
            lib.eqf_evaluation_destroy(evaluation)

    def anneal(self, n: int = 8192, *, seed: int = 0, potential: Optional[Potential] = None, progress: bool = False,
               callback: Optional[Callable[[dict], Any]] = None, **options: Any) -> Annealing:
        """ln Z, mean energy and weighted configurations of the potential by annealed sequential Monte Carlo from this model (docs/anneal.md).

        options: those of eqf_anneal_options: num_repeats, num_pilot, num_latent_moves, num_langevin_moves, num_particle_sweeps, ess_decay, ... callback gets each
        step as a dict; one that returns True ends the run."""
        target = potential or self.potential
        lib, c = library(), self._context
        struct = initial(declarations.eqf_anneal_options)
        struct.seed, struct.num_walkers = seed, n
        for key, value in options.items():
            if key not in dict(struct._fields_):
                raise TypeError(f"anneal() has no option '{key}'")
            setattr(struct, key, value)
        annealer = ctypes.POINTER(declarations.eqf_annealer)()
        c.call(lib.eqf_annealer_create, c.device, self.flow, target._options, struct, annealer)
        bar, steps = Progress("anneal", progress), []
        try:
            state = initial(declarations.eqf_anneal_state)
            names = [name for name, _ in state._fields_ if name not in ("struct_size", "reserved")]
            while not state.is_done:
                c.call(lib.eqf_annealer_advance, annealer, state)
                steps.append({name: getattr(state, name) for name in names})
                bar.to(state.beta, 1, "pilot" if state.is_pilot else f"ESS {state.ess_fraction:.2f}")
                if callback is not None and callback(steps[-1]):
                    raise EqflowError("annealing was ended by its callback")
            result = initial(declarations.eqf_anneal_result)
            c.call(lib.eqf_annealer_result, annealer, result, None, None, None)
            num = result.num_walkers
            x = np.empty((num, self.num_particles, self.space_dim), np.float32)
            energy, log_weights = np.empty(num, np.float32), np.empty(num)
            c.call(lib.eqf_annealer_result, annealer, None, floats(x), floats(energy), doubles(log_weights))
        finally:
            bar.close()
            lib.eqf_annealer_destroy(annealer)
        return Annealing(result.log_z, result.log_z_standard_error, result.mean_energy, result.mean_energy_standard_error, result.ess_fraction,
                         x, energy, log_weights, steps, result.num_independent, result.energy_correlation)

    def minima(self, n: int = 1000, *, seed: int = 0) -> Any:
        """The distinct minima that n samples of the model quench to; `minimum_of` says which is whose."""
        return self.potential.minima(self.sample(n, seed).x)
