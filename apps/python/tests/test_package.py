"""The package against the program and against itself. Run by ctest (python.package), or: python3 -m pytest apps/python/tests"""

import ctypes
import json
import multiprocessing
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import eqflow
from eqflow import _declarations as declarations
from eqflow._library import library

PROGRAM = os.environ.get("EQFLOW_PROGRAM")
INCLUDE = os.environ.get("EQFLOW_INCLUDE")


def run(*arguments):
    return subprocess.run([PROGRAM, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def dw4():
    return eqflow.potential("dw4").mcmc(1500, seed=3, burn_in=500, thinning=20)


@pytest.fixture(scope="session")
def model(dw4):
    return eqflow.train("dw4", dw4.x, steps=150, seed=1)


# ---- Declarations ----------------------------------------------------------------------------------------------------


def test_layouts_are_the_compilers():
    assert len(declarations.LAYOUTS) > 20
    for name, (size, offsets, init) in declarations.LAYOUTS.items():
        struct = getattr(declarations, name)
        assert ctypes.sizeof(struct) == size, name
        for field, offset in offsets.items():
            assert getattr(struct, field).offset == offset, (name, field)
        assert init == "" or len(bytes.fromhex(init)) == size


@pytest.mark.skipif(not INCLUDE, reason="EQFLOW_INCLUDE names the headers")
def test_every_public_function_is_declared():
    in_headers = set()
    for header in pathlib.Path(INCLUDE, "eqflow").glob("*.h"):
        if header.name != "opencl.h":
            text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
            in_headers |= set(re.findall(r"\b(eqf_\w+)\(", re.sub(r"#define.*(\\\n.*)*", "", text)))
    assert in_headers == set(declarations.FUNCTIONS)
    for name in declarations.FUNCTIONS:
        assert getattr(library(), name).argtypes is not None


def test_import_is_quick():
    code = "import time, numpy; t = time.process_time(); import eqflow; print(time.process_time() - t)"  # of CPU: other load does not count
    seconds = min(float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout) for _ in range(3))
    assert seconds < 0.2


# ---- Potentials ------------------------------------------------------------------------------------------------------


def test_energy_and_force():
    u = eqflow.potential("dw4")
    x = np.random.default_rng(0).normal(size=(5, 4, 2)) * 2
    expected = np.zeros(5)
    for i in range(4):
        for j in range(i):
            d = np.linalg.norm(x[:, i] - x[:, j], axis=1) - u.distance_offset
            expected += u.linear * d + u.quadratic * d**2 + u.quartic * d**4
    assert np.allclose(u.energy(x), expected, rtol=1e-4)
    step = np.zeros_like(x[0])
    step[1, 0] = 1e-2
    difference = (u.energy(x[0] + step) - u.energy(x[0] - step)) / 2e-2
    assert abs(u.force(x[0])[1, 0] + difference) < 2e-2 * (1 + abs(difference))
    assert u.energy(x.reshape(5, 8)).shape == (5,) and np.isscalar(float(u.energy(x[0])))


def test_options_and_own_potentials():
    hot, cold = eqflow.potential("dw4", temperature=2), eqflow.potential("dw4")
    x = np.random.default_rng(1).normal(size=(4, 2))
    assert np.isclose(hot.energy(x) * 2, cold.energy(x), rtol=1e-5)
    text = """
    real energy(const real *x) { real s = 0; for (int c = 0; c < N * D; c++) s += x[c] * x[c]; return k * s / 2; }
    void energy_gradient(const real *x, real *g) { for (int c = 0; c < N * D; c++) g[c] = k * x[c]; }
    """
    own = eqflow.potential(text=text, num_particles=3, space_dim=2, constants={"k": 2.0})
    slow = eqflow.potential(function=lambda x: float((x**2).sum()), num_particles=3, space_dim=2)
    y = np.random.default_rng(2).normal(size=(4, 3, 2))
    assert np.allclose(own.energy(y), slow.energy(y), rtol=1e-5)
    assert np.allclose(own.force(y), slow.force(y), rtol=1e-4, atol=1e-4)


def test_a_python_functions_monte_carlo():
    """Of three springs on a triangle: three vibrations have 3/2 kT."""
    def springs(x):
        d = np.linalg.norm(x[[0, 1, 2]] - x[[1, 2, 0]], axis=1)
        return float(50 * ((d - 3) ** 2).sum())

    chain = eqflow.potential(function=springs, num_particles=3, space_dim=2).mcmc(1500, seed=1, burn_in=500, thinning=5)
    assert chain.x.shape == (1500, 3, 2) and np.abs(chain.x.mean(axis=1)).max() < 1e-5
    assert np.allclose(chain.energy, [springs(x) for x in chain.x.astype(float)], atol=1e-2)
    blocks = chain.energy.reshape(15, 100).mean(axis=1)
    assert abs(blocks.mean() - 1.5) < 5 * blocks.std() / np.sqrt(15) and 0.2 < chain.diagnostics["acceptance"] < 0.7


class OnlyDlpack:
    """An array of another library, which has DLPack and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnlyInterface:
    def __init__(self, array):
        self.array, self.__array_interface__ = array, array.__array_interface__


def test_arrays_of_others(dw4):
    u, x = eqflow.potential("dw4"), dw4.x[:20]
    assert np.array_equal(u.energy(OnlyDlpack(x)), u.energy(x)) and np.array_equal(u.energy(OnlyInterface(x)), u.energy(x))
    assert np.array_equal(u.energy(x.tolist()), u.energy(x))
    assert u.energy(x).__dlpack_device__() == (1, 0) and u.force(x).__array_interface__["shape"] == (20, 4, 2)


def test_own_text_is_checked_before_training():
    text = "real energy(const real *x) { real s = 0; for (uint i = 0; i < N; i++) s += (i + 1) * (x[D * i] - x[D * ((i + 1) % N)]) * (x[D * i] - x[D * ((i + 1) % N)]); return s; }\n"
    gradient = """void energy_gradient(const real *x, real *g) {
        for (uint c = 0; c < N * D; c++) g[c] = 0;
        for (uint i = 0; i < N; i++) {
            uint j = (i + 1) % N; real part = 2 * (real)(i + 1) * (x[D * i] - x[D * j]); g[D * i] += part; g[D * j] -= part;
        } }"""
    odd = eqflow.potential(text=text + gradient, num_particles=3, space_dim=2)
    assert odd.symmetry()["permutation"] is False and odd.symmetry()["translation"] is True
    x = np.random.default_rng(0).normal(size=(100, 3, 2))
    with pytest.raises(ValueError, match="changes under permutation"):
        eqflow.train(odd, x, steps=2)
    with pytest.raises(eqflow.EqflowError, match="gradient is not the energy's"):
        eqflow.train(eqflow.potential(text=text + gradient.replace("-= part", "+= part"), num_particles=3, space_dim=2), x, steps=2)


def test_a_dense_field_by_flow_matching(dw4):
    model = eqflow.train("dw4", dw4.x, field="dense", loss="flow-matching", steps=60, dynamics={"width": 16}, seed=1)
    assert np.isfinite(model.log_prob(dw4.x[:10])).all()
    assert abs(model.log_prob(dw4.x[:10, ::-1]) - model.log_prob(dw4.x[:10])).max() > 1e-3
    with pytest.raises(ValueError, match="unknown field"):
        eqflow.train("dw4", dw4.x, field="deep")


def test_refusals_carry_the_librarys_line():
    with pytest.raises(ValueError, match="unknown preset"):
        eqflow.potential("lj14")
    with pytest.raises(eqflow.EqflowError, match="temperature") as caught:
        eqflow.potential("dw4", temperature=-1)
    assert caught.value.name == "EQF_ERROR_INVALID_ARGUMENT"
    with pytest.raises(TypeError, match="no option"):
        eqflow.potential("dw4", tempreature=1)
    with pytest.raises(ValueError, match="expected"):
        eqflow.potential("dw4").energy(np.zeros((3, 5, 2)))
    with pytest.raises(eqflow.EqflowError):
        eqflow.Model.load("there/is/no.safetensors")


def test_chains_and_minima(dw4):
    assert dw4.x.shape == (1500, 4, 2) and np.abs(dw4.x.mean(axis=1)).max() < 1e-5
    assert abs(dw4.energy.mean() + 22.54) < 1
    minima = eqflow.potential("dw4").minima(dw4.x[:200])
    assert np.allclose(minima.energy[0], -25.7922, atol=1e-3) and minima.count.sum() <= 200
    assert set(minima.minimum_of) <= set(range(-1, len(minima.energy)))


# ---- Models ----------------------------------------------------------------------------------------------------------


def test_a_models_quantities_agree(model):
    x, log_prob = model.sample(64, seed=5)
    assert np.allclose(model.log_prob(x), log_prob, atol=2e-3)
    z = model.latent(x)
    assert np.allclose(z, model.prior_sample(64, seed=5), atol=2e-3)
    forward, log_det = model.forward(z)
    assert np.allclose(forward, x, atol=2e-3)
    assert np.allclose(model.prior_log_prob(z) - log_det, log_prob, atol=5e-3)
    way = model.trajectory(model.prior_sample(8, seed=5))
    assert len(way.t) == model.num_steps + 1 and way.t[0] == 0 and way.t[-1] == 1
    assert np.allclose(way.x[-1], x[:8], atol=1e-4) and np.allclose(way.log_prob[-1], log_prob[:8], atol=1e-3)
    assert np.allclose(way.velocity[0], model.velocity(way.x[0], 0), atol=1e-5)
    assert len(model.trajectory(z[:2], frames=5).t) == 5
    h = 5e-3
    step = np.zeros((4, 2))
    step[0, 0], step[1, 0] = h, -h  # mean-free
    difference = (model.log_prob(x[0] + step) - model.log_prob(x[0] - step)) / 2
    assert abs((model.score(x[0]) * step).sum() - difference) < 0.02 * h + 2e-3
    assert model.divergence(x, 0.5).shape == (64,)


def test_the_mean_free_measure():
    """On a grid of x = (r/2, -r/2) the density integrates to 1 in the coordinate r/sqrt(2) along the unit vector, not in r."""
    with eqflow.train("dw2", loss="energy", steps=60, num_generated=64, dynamics={}, num_steps=10) as flow:
        r = np.linspace(-12, 12, 241)
        a, b = np.meshgrid(r, r)
        x = np.stack([np.stack([a, b], -1) / 2, -np.stack([a, b], -1) / 2], axis=2).reshape(-1, 2, 2)
        naive = np.exp(flow.log_prob(x).astype(float)).sum() * (r[1] - r[0]) ** 2
        assert abs(naive - 2) < 0.05  # D = 2: each of the two directions stretches by sqrt(2)
        assert abs(naive / 2 - 1) < 0.03


def test_parameters(model):
    params = model.params
    slices = model.slices()
    assert sum(v.size for v in slices.values()) == params.size
    before = model.sample(4, seed=1).x
    model.params = params * 0.5
    assert not np.array_equal(before, model.sample(4, seed=1).x)
    model.params = params
    assert np.array_equal(before, model.sample(4, seed=1).x)
    with pytest.raises(ValueError, match="parameters of shape"):
        model.params = params[:-1]


@pytest.mark.skipif(not PROGRAM, reason="EQFLOW_PROGRAM names the program")
def test_same_bits_as_the_program(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    run("sample", tmp_path / "m.safetensors", "-n", 300, "--seed", 7, "-o", tmp_path / "x.npy", "--log-prob", tmp_path / "p.npy", "-q")
    again = eqflow.Model.load(tmp_path / "m.safetensors")
    x, log_prob = again.sample(300, seed=7)
    assert np.array_equal(x, np.load(tmp_path / "x.npy")) and np.array_equal(log_prob, np.load(tmp_path / "p.npy"))
    run("log-prob", tmp_path / "m.safetensors", "--data", tmp_path / "x.npy", "-o", tmp_path / "q.npy", "-q")
    assert np.array_equal(again.log_prob(x), np.load(tmp_path / "q.npy"))
    assert again.preset == "dw4" and np.array_equal(again.params, model.params)


@pytest.mark.skipif(not PROGRAM or not INCLUDE, reason="EQFLOW_PROGRAM names the program, EQFLOW_INCLUDE the headers beside README.md")
def test_readmes_lines_give_the_programs_bits(tmp_path, monkeypatch, capsys):
    """README's Python, run as it stands; then its models, sampled by the program."""
    code = next(block for block in re.findall(r"```python\n(.*?)```", pathlib.Path(INCLUDE, "../README.md").read_text(), re.S) if "import eqflow" in block)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert "dw4-message" in capsys.readouterr().out
    for model, path in ((names["model"], "gallery:dw4-message"), (names["mine"], "dw4-python.safetensors")):
        run("sample", path, "-n", 1000, "--seed", 1, "-o", "x.npy", "--log-prob", "p.npy", "-q")
        x, log_prob = model.sample(1000, seed=1)
        assert np.array_equal(x, np.load("x.npy")) and np.array_equal(log_prob, np.load("p.npy"))
    assert np.array_equal(names["x"], names["model"].sample(1000, seed=1).x) and names["x"].shape == (1000, 4, 2)


def test_the_gallery_is_found_by_name():
    cards = {card["name"]: card for card in eqflow.gallery()}
    assert {"dw2-radial", "dw4-radial"} <= set(cards)
    loaded = eqflow.Model.load("gallery:dw2-radial")
    assert loaded.preset == "dw2" == cards["dw2-radial"]["system"] and len(loaded.params) == cards["dw2-radial"]["num_params"]
    data = eqflow.potential("dw2").mcmc(2000, seed=5).x
    figures = cards["dw2-radial"]["figures"]
    nll = -loaded.log_prob(data).mean()
    assert abs(nll - figures["nll"]) < 5 * loaded.log_prob(data).std() / np.sqrt(2000)
    with pytest.raises(eqflow.EqflowError, match="'dw4-raidal'; the nearest names: dw4-radial"):
        eqflow.Model.load("gallery:dw4-raidal")


def test_training_history_callback_and_end(dw4):
    rows = []
    model = eqflow.train("dw4", dw4.x, steps=100, seed=2, callback=lambda row: rows.append(row) or len(rows) >= 2)
    assert len(rows) == 2 and 0 < rows[1]["step"] < 100
    assert np.isfinite(model.sample(3).log_prob).all() and len(model.history) >= 1
    with pytest.raises(TypeError, match="no option"):
        eqflow.train("dw4", dw4.x, learning_rat=1)


def test_a_row_a_validation(dw4):
    rows = []
    model = eqflow.train("dw4", dw4.x, steps=100, seed=2, callback=rows.append)
    assert [row["step"] for row in rows] == [row["step"] for row in model.history]
    assert [row["held_out_nll"] for row in rows] == [row["held_out_nll"] for row in model.history]


@pytest.mark.skipif(not PROGRAM, reason="EQFLOW_PROGRAM names the program")
def test_evaluation_with_data_is_the_programs(model, dw4, tmp_path):
    model.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "data.npy", dw4.x)
    told = json.loads(run("evaluate", tmp_path / "m.safetensors", "--data", tmp_path / "data.npy", "-n", 1000, "--seed", 4, "--json", "-q"))
    result = eqflow.Model.load(tmp_path / "m.safetensors").evaluate(told["num_samples"], seed=4, data=dw4.x)
    shared = [key for key in result.figures if isinstance(told.get(key), (int, float))]
    assert {"nll", "nll_refined", "kl_direct", "ess_fraction", "log_z", "reverse_kl", "ess_fraction_data"} <= set(shared)
    for key in shared:
        assert float(f"{result.figures[key]:.10g}") == told[key], key  # JSON has ten digits
    assert len(result.warnings) == len(told["warnings"]) and result.ess_fraction == result.figures["ess_fraction"]
    assert result.samples.x.shape == (1000, 4, 2) and result.figures["num_data"] == 1500


def test_reweighting_and_annealing(model):
    result = model.evaluate(2000, seed=1)
    assert 0 < result.ess_fraction <= 1 and result.log_weights.shape == (2000,)
    steps = []
    annealed = model.anneal(800, seed=1, num_pilot=200, num_repeats=8, callback=lambda step: steps.append(step) and None)
    assert annealed.steps == steps and steps[-1]["beta"] == 1
    assert abs(annealed.log_z - 29.668) < 6 * annealed.log_z_standard_error
    assert abs(np.log(np.exp(annealed.log_weights - annealed.log_z).mean())) < 1e-9
    assert 10 < annealed.num_independent <= 100 and -0.5 < annealed.energy_correlation < 0.95


# ---- Processes and threads -------------------------------------------------------------------------------------------


def _use_inherited(model, queue):
    try:
        model.sample(1)
        queue.put("sampled")
    except eqflow.EqflowError as error:
        queue.put(str(error))


def test_fork_is_refused(model):
    model.sample(1)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_use_inherited, args=(model, queue))
    child.start()
    assert "fork" in queue.get(timeout=60)
    child.join(60)


def test_threads_have_contexts_of_their_own(dw4):
    results, errors = {}, []

    def work(seed):
        try:
            results[seed] = eqflow.potential("dw4").energy(dw4.x)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and all(np.array_equal(results[0], results[k]) for k in results)


def interrupt(after):
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)).start()


def test_threads_share_a_model_in_turns(model):
    """Two threads on one context: each gets what it would have had alone."""
    alone, results = [model.sample(4000, seed=k) for k in range(4)], {}
    threads = [threading.Thread(target=lambda k=k: results.update({k: [model.sample(4000, seed=k) for _ in range(3)]})) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        assert all(np.array_equal(again.x, alone[k].x) and np.array_equal(again.log_prob, alone[k].log_prob) for again in results[k])


def test_ctrl_c_keeps_the_best(dw4, tmp_path):
    rows = []
    start = time.monotonic()
    model = eqflow.train("dw4", dw4.x, steps=1000000, seed=2, save=tmp_path / "best.safetensors", callback=lambda row: rows.append(row) or (len(rows) == 1 and interrupt(0.3)))
    assert time.monotonic() - start < 60 and rows[-1]["step"] < 1000000
    assert np.isfinite(model.sample(3).log_prob).all()
    assert np.array_equal(model.params, eqflow.Model.load(tmp_path / "best.safetensors").params)


def test_ctrl_c_ends_a_call_inside_the_library():
    """Not only between calls: twenty seconds of Monte Carlo end within some; the context is as good as before."""
    u = eqflow.potential("lj13")
    u.mcmc(10, seed=1, burn_in=1, thinning=1)  # compiled
    interrupt(0.5)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        u.mcmc(1000, seed=1, burn_in=100000000)
    assert time.monotonic() - start < 30
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert np.isfinite(u.energy(u.mcmc(10, seed=1, burn_in=1, thinning=1).x)).all()


def test_a_handler_of_ones_own_is_called_after_the_call():
    u, calls = eqflow.potential("lj13"), []
    before = signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    try:
        interrupt(0.5)
        with pytest.raises(eqflow.Interrupted):
            u.mcmc(1000, seed=1, burn_in=100000000)
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [1]


def test_closed_things_say_so():
    context = eqflow.Context()
    u = eqflow.potential("dw2", context=context)
    u.energy(np.zeros((2, 2)))
    context.close()
    with pytest.raises(eqflow.EqflowError, match="closed"):
        u.energy(np.zeros((2, 2)))
