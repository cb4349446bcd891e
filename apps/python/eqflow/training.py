"""Training from Python, step by step in the library."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Callable, Optional, Union

import numpy as np
from numpy.typing import ArrayLike

from . import _declarations as declarations
from ._library import Context, EqflowError, Progress, configurations, default_context, floats, initial, library
from .models import Model
from .potentials import Potential, potential as make_potential


def _copy(struct: Any) -> Any:
    return type(struct).from_buffer_copy(struct)


def _set(struct: Any, values: dict[str, Any], what: str) -> None:
    for key, value in values.items():
        if key not in dict(struct._fields_):
            raise TypeError(f"{what} has no option '{key}'")
        setattr(struct, key, value)


def train(system: Union[str, Potential], data: Optional[ArrayLike] = None, *, steps: int = 0, seed: int = 0, held_out: float = 0.1,
          num_steps: int = 0, loss: str = "nll", field: str = "radial", start: Optional[Model] = None, callback: Optional[Callable[[dict], Any]] = None,
          save: Union[str, os.PathLike, None] = None, progress: bool = False, dynamics: Optional[dict[str, Any]] = None, context: Optional[Context] = None,
          **options: Any) -> Model:
    """Trains a flow for a preset ("dw4") or a potential and returns the best model.

    data: samples [B, N, D]; None makes them by Monte Carlo (loss "energy" needs none). held_out: the part that chooses the model.
    loss: "nll" (likelihood of data), "energy" (free energy of the model, no data), "mixture", or "flow-matching" (of
    the dense and the message field: cheap steps, then a flow that is close; Lipman et al. 2023). field: "radial", "dense" or "message". steps: optimizer steps; 0: the preset's.
    num_steps: integration steps while training. dynamics: values of eqf_dynamics_options, such as {"num_distance": 30}. options: values of
    eqf_training_options, such as batch_size, learning_rate. callback gets each row of the history, one a validation, as a dict; True ends
    training, and so does Ctrl-C: what is best so far comes back (before the first validation KeyboardInterrupt does). save: the file that always has the
    best so far, so that it outlives the process. start: a model to go on from."""
    lib, c = library(), context or default_context()
    if loss not in ("nll", "energy", "mixture", "flow-matching"):
        raise ValueError("loss is 'nll', 'energy', 'mixture' or 'flow-matching'")
    kind = ctypes.c_int()
    if lib.eqf_dynamics_kind_find(field.encode(), ctypes.byref(kind)) != 0:
        raise ValueError(f"unknown field '{field}': 'radial', 'dense' or 'message'")
    target = make_potential(system, context=c) if isinstance(system, str) else system
    if not isinstance(target, Potential):
        raise TypeError("training needs a potential of the library or an OpenCL text; a Python function cannot be differentiated on the device")
    if target._options.source:  # an own text: as the program checks it before it trains
        target.verify()
        lacking = [name for name, has in target.symmetry().items() if not has]
        if lacking and field != "dense":
            raise ValueError(f"the energy changes under {', '.join(lacking)} (unlike particles, an outer field, a box, handedness?), and no density of "
                             "this field does: train field='dense'")
    row = lib.eqf_preset_find(target.preset.encode()) if target.preset else None
    own = ctypes.POINTER(declarations.eqf_preset)()
    if not row:
        c.call(lib.eqf_preset_for_potential, c.pointer, target._options, own)
        row = own
    try:
        made, mcmc_n = _copy(row.contents.model.contents), row.contents.default_num_train
        if field != "radial":
            c.call(lib.eqf_preset_model_options, row, kind.value, made)
            made.dynamics.kind = kind.value
        made.potential, made.seed = target._options, seed
        x = None
        if loss != "energy":
            x = configurations(data if data is not None else target.mcmc(mcmc_n, seed=seed + 1).x, target.num_particles, target.space_dim)[0]
        num = 0 if x is None else len(x)
        training = initial(declarations.eqf_training_options)
        if field == "radial" and loss != "flow-matching":
            c.call(lib.eqf_preset_training_options, row, num, training)
        else:
            objective = declarations.EQF_OBJECTIVE_FLOW_MATCHING if loss == "flow-matching" else declarations.EQF_OBJECTIVE_LIKELIHOOD
            c.call(lib.eqf_preset_stage_options, row, kind.value, objective, num, training)
    finally:
        if own:
            lib.eqf_free(own)
    if num_steps:
        made.integrator.num_steps = num_steps
    _set(made.dynamics, dynamics or {}, "dynamics")
    training.seed = seed
    if steps:
        training.num_steps = steps
        training.num_warmup_steps = min(training.num_warmup_steps, steps // 10)
        training.validation_interval = min(training.validation_interval, max(steps // 5, 1))
    training.nll_weight_start = 0.0 if loss == "energy" else 1.0
    training.nll_weight_end = {"energy": 0.0, "mixture": 0.5}.get(loss, 1.0)
    _set(training, options, "train()")
    model = ctypes.POINTER(declarations.eqf_model)()
    if start is None:
        c.call(lib.eqf_model_create, c.pointer, made, model)
    else:
        c.call(lib.eqf_model_copy, c.pointer, start._pointer, model)
    try:
        best = _run(c, model, training, x, held_out, seed, callback, progress, save)
    finally:
        lib.eqf_model_destroy(model)
    return Model(best, c)


def _run(c: Context, model: Any, training: Any, x: Any, held_out: float, seed: int, callback: Any, progress: bool, save: Any) -> Any:
    lib = library()
    num = 0 if x is None else len(x)
    num_held_out = int(round(held_out * num)) if num > 1 else 0
    if num:
        x = np.ascontiguousarray(x[np.random.default_rng(seed).permutation(num)])
    trainer = ctypes.POINTER(declarations.eqf_trainer)()
    train_part, held_out_part = (None, None) if x is None else (x[num_held_out:], x[:num_held_out])
    c.call(lib.eqf_trainer_create, c.device, model, training, num - num_held_out, floats(train_part), num_held_out,
                                   floats(held_out_part) if num_held_out else None, trainer)
    best, state = ctypes.POINTER(declarations.eqf_model)(), initial(declarations.eqf_training_state)
    names = [name for name, _ in state._fields_ if name not in ("struct_size", "reserved", "stage_name")]
    is_measured = False  # a validation has chosen a best model

    def take_best() -> Any:
        if best:
            lib.eqf_model_destroy(best)
        c.call(lib.eqf_trainer_best_model, trainer, best)
        if save is not None:
            c.call(lib.eqf_model_save, c.pointer, best, os.fsencode(save))
        return best

    try:
        with _Training(training.num_steps, state, progress) as bar:
            try:
                while not state.is_done:
                    c.call(lib.eqf_trainer_advance, trainer, training.num_steps, state, progress=bar)  # up to the next validation
                    is_measured = True
                    if save is not None:
                        take_best()
                    if callback is not None and callback({name: getattr(state, name) for name in names}):
                        break
            except KeyboardInterrupt:
                if not is_measured:
                    raise
        return take_best()
    finally:
        lib.eqf_trainer_destroy(trainer)


class _Training(Progress):
    """Steps done of all: what the library tells is those up to the next validation."""

    def __init__(self, num_steps: int, state: Any, show: bool):
        super().__init__("train", show)
        self._num_steps, self._state = num_steps, state

    def to(self, done: float, total: float, note: str = "") -> None:
        nll = self._state.held_out_nll
        super().to(done, self._num_steps, f"held-out {nll:.3f}" if nll == nll else "")
