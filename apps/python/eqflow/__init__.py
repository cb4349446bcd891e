"""eqflow: equivariant continuous normalizing flows with exact likelihood, on any OpenCL device.

    import eqflow
    u = eqflow.potential("dw4")
    data = u.mcmc(10000, seed=1)
    model = eqflow.train("dw4", data.x, seed=1)
    x, log_prob = model.sample(1000, seed=2)
    print(model.evaluate(10000).ess_fraction)

Configurations are NumPy arrays [B, N, D] (float32 inside), energies in kT, log-densities in nats, normalised on configurations with
their centre of mass at 0. A thin face on the C library: docs/python.md."""

import os
from typing import Any

from ._library import Context, EqflowError, Interrupted, default_context
from .models import Annealing, Evaluation, Model, Samples, Trajectory
from .potentials import Chains, Minima, Potential, PythonPotential, potential, presets
from .training import train


def mcmc(system, n, **options):
    """Equilibrium configurations of a preset ("lj13") or a Potential: see Potential.mcmc."""
    return (potential(system) if isinstance(system, str) else system).mcmc(n, **options)


def devices() -> list[str]:
    """The OpenCL devices that are here, by name."""
    import ctypes

    from . import _declarations as declarations
    from ._library import library

    infos, num = ctypes.POINTER(declarations.eqf_device_info)(), ctypes.c_size_t()
    c = default_context()
    c.call(library().eqf_device_list, c.pointer, infos, num)
    try:
        return [infos[i].name.decode("utf-8", "replace") for i in range(num.value)]
    finally:
        library().eqf_free(infos)


def gallery() -> list[dict[str, Any]]:
    """The trained models that come with the library: name, path, and the figures of each one's card. `Model.load("gallery:NAME")` loads one."""
    import ctypes
    import json
    import pathlib

    from . import _declarations as declarations
    from ._library import library

    entries, num = ctypes.POINTER(declarations.eqf_gallery_entry)(), ctypes.c_size_t()
    c = default_context()
    c.call(library().eqf_gallery_list, c.pointer, entries, num)
    try:
        found = [(entries[i].name.decode(), pathlib.Path(os.fsdecode(entries[i].model_path))) for i in range(num.value)]
    finally:
        library().eqf_free(entries)
    card = lambda path: json.loads(path.read_text("utf-8")) if path.exists() else {}
    return [{"name": name, "path": str(path), **card(path.with_suffix(".json"))} for name, path in found]


def version() -> str:
    """The library's, such as "0.1.0"."""
    from ._library import library

    return library().eqf_version().decode()


__all__ = ["Annealing", "Chains", "Context", "EqflowError", "Evaluation", "Interrupted", "Minima", "Model", "Potential", "PythonPotential", "Samples",
           "Trajectory", "default_context", "devices", "gallery", "mcmc", "potential", "presets", "train", "version"]
