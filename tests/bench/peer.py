"""What all peers share: the systems, their parameters, a double-precision reference and the measuring protocol.

The protocol is described at the top of compare.py. Shapes: x [B, N, D], K distance Gaussians, M time Gaussians.
The formulas are those of docs/method.md (Koehler, Klein and Noe, ICML 2020, and its published code):

    phi(d, t) = sum_m T_m(t) [ sum_k (R_k(d) + c_k^2) W_km + b_m ]
    R_k = g_k / (1e-6 + sum g),    g_k = exp(-((d - mu_k)/gamma_k)^2),    T_m likewise in t
    v_i = sum_{j != i} (x_i - x_j) phi(d_ij, t),    div v = sum_{i != j} [ d_ij phi'(d_ij, t) + D phi(d_ij, t) ]
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np

NUM_DISTANCE = 50
NUM_TIME = 10
NUM_STEPS = 20
RBF_EPSILON = 1e-6
LEARNING_RATE = 5e-3  # Adam, as the paper's authors set it
TRAINED = ("weights", "bias", "importance", "distance_log_gammas", "time_log_gammas")  # 620 numbers


@dataclass(frozen=True)
class System:
    name: str
    num_particles: int
    space_dim: int
    is_dense_core: bool  # centres and widths by the authors' LJ-13 law, else uniform


SYSTEMS = {
    "dw4": System("dw4", 4, 2, False),
    "lj13": System("lj13", 13, 3, True),
    "lj55": System("lj55", 55, 3, True),
}


def parameters(system, seed=0, is_perturbed=False):
    """Float32 arrays as the model initialises them; is_perturbed moves every group off its start, for checks."""
    rng = np.random.default_rng(seed)
    time_centers = np.linspace(0.0, 1.0, NUM_TIME)
    if system.is_dense_core:
        s = np.linspace(0.0, 16.0, NUM_DISTANCE)
        distance_centers = np.sort(2.0 * ((s - 1.5) / 32.0) ** 2 * 16.0)
        distance_gammas = 0.3 + 3.0 * ((distance_centers - 1.5) / 32.0) ** 2 * 16.0
        time_gammas = (0.3 + 2.0 * ((time_centers - 0.5) / 2.0) ** 2) / np.sqrt(10.0)
    else:
        distance_centers = np.linspace(0.0, 8.0, NUM_DISTANCE)
        distance_gammas = np.full(NUM_DISTANCE, 0.5)
        time_gammas = np.full(NUM_TIME, 0.3)
    p = {
        "distance_centers": distance_centers,
        "time_centers": time_centers,
        "distance_log_gammas": np.log(distance_gammas),
        "time_log_gammas": np.log(time_gammas),
        "weights": rng.standard_normal((NUM_DISTANCE, NUM_TIME)) / np.sqrt(NUM_DISTANCE),
        "bias": np.zeros(NUM_TIME),
        "importance": np.zeros(NUM_DISTANCE),
    }
    if is_perturbed:
        p["bias"] += 0.02 * rng.standard_normal(NUM_TIME)
        p["importance"] += 0.1 * rng.standard_normal(NUM_DISTANCE)
        p["distance_log_gammas"] += 0.1 * rng.standard_normal(NUM_DISTANCE)
        p["time_log_gammas"] += 0.1 * rng.standard_normal(NUM_TIME)
        # Many particles push each other far: weaker weights keep the comparison within float32's reach.
        p["weights"] *= 4.0 / system.num_particles
    return {name: value.astype(np.float32) for name, value in p.items()}


def table_max(p):
    """Where the last Gaussian has vanished, normalisation included: tables end there, phi is constant beyond."""
    return float(np.max(p["distance_centers"] + 6.0 * np.exp(p["distance_log_gammas"])))


def stage_times():
    """The distinct stage times of RK4 with NUM_STEPS equal steps: j / (2 NUM_STEPS)."""
    return np.arange(2 * NUM_STEPS + 1) / (2.0 * NUM_STEPS)


def prior_sample(system, batch, seed):
    """Mean-free unit Gaussian, float32 [B, N, D]."""
    z = np.random.default_rng(seed).standard_normal((batch, system.num_particles, system.space_dim))
    return (z - z.mean(axis=1, keepdims=True)).astype(np.float32)


def prior_constant(system):
    return 0.5 * (system.num_particles - 1) * system.space_dim * np.log(2.0 * np.pi)


# --- the reference: float64, every ordered pair, every Gaussian -------------------------------------------------------


def reference_field(system, p, t, x):
    """Velocity [B, N, D] and divergence [B]."""
    time_g = np.exp(-(((t - p["time_centers"]) / np.exp(p["time_log_gammas"])) ** 2))
    time_rbf = time_g / (RBF_EPSILON + time_g.sum())
    w = p["weights"] @ time_rbf
    offset = (p["importance"] ** 2) @ w + p["bias"] @ time_rbf
    i, j = np.nonzero(~np.eye(system.num_particles, dtype=bool))
    r = x[:, i] - x[:, j]
    d = np.sqrt((r**2).sum(axis=-1))[..., None]
    gamma = np.exp(p["distance_log_gammas"])
    g = np.exp(-(((d - p["distance_centers"]) / gamma) ** 2))
    dg = g * (-2.0 * (d - p["distance_centers"]) / gamma**2)
    norm = RBF_EPSILON + g.sum(axis=-1, keepdims=True)
    phi = (g / norm) @ w + offset
    dphi = (dg / norm - g * dg.sum(axis=-1, keepdims=True) / norm**2) @ w
    velocity = (r * phi[..., None]).reshape(len(x), system.num_particles, -1, system.space_dim).sum(axis=2)
    return velocity, (d[..., 0] * dphi + system.space_dim * phi).sum(axis=1)


def reference_solve(system, p, x, direction):
    """RK4 from t = 0 to 1 (direction +1) or back (-1): the end state and log|det| of that map."""
    p = {name: value.astype(np.float64) for name, value in p.items()}
    x = x.astype(np.float64)
    log_det = np.zeros(len(x))
    h = direction / NUM_STEPS
    for step in range(NUM_STEPS):
        t = step * h if direction > 0 else 1.0 + step * h
        k1, l1 = reference_field(system, p, t, x)
        k2, l2 = reference_field(system, p, t + h / 2, x + h / 2 * k1)
        k3, l3 = reference_field(system, p, t + h / 2, x + h / 2 * k2)
        k4, l4 = reference_field(system, p, t + h, x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        log_det = log_det + h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
    return x, log_det


def reference_sample(system, p, z):
    """x [B, N, D] and its log_prob [B] from latents z."""
    x, log_det = reference_solve(system, p, z, +1)
    z = z.astype(np.float64)
    return x, -0.5 * (z**2).sum(axis=(1, 2)) - prior_constant(system) - log_det


def reference_nll(system, p, x):
    """Mean of -log_prob over x [B, N, D]."""
    z, log_det = reference_solve(system, p, x, -1)
    return float(np.mean(0.5 * (z**2).sum(axis=(1, 2)) + prior_constant(system) - log_det))


def check(peer_name, sample, gradient, systems=("dw4", "lj13"), batch=3):
    """Compares a peer with the reference.

    sample(system, p, z) -> x, log_prob;  gradient(system, p, x) -> nll, {name: array}.
    Velocities and divergences enter through the solution; every trained group's gradient is tested along three random
    directions by central differences of the double reference. Returns the number of failures.
    """
    failures = 0

    def report(what, error, bound):
        nonlocal failures
        ok = bool(error <= bound)
        failures += not ok
        print(f"{peer_name} {what}: error {error:.2e}, bound {bound:.0e}: {'ok' if ok else 'FAILED'}")

    for name in systems:
        system = SYSTEMS[name]
        p = parameters(system, seed=1, is_perturbed=True)
        z = prior_sample(system, batch, seed=2)
        want_x, want_log_prob = reference_sample(system, p, z)
        got_x, got_log_prob = sample(system, p, z)
        scale = float(np.abs(want_x).max())
        report(f"{name} x (relative to the largest)", np.abs(np.asarray(got_x) - want_x).max() / scale, 2e-5)
        report(f"{name} log_prob (nat)", np.abs(np.asarray(got_log_prob) - want_log_prob).max(), 3e-4)
        moved = np.abs(want_x - z).max()
        report(f"{name} the flow moves particles (1 / distance)", 1.0 / moved, 10.0)

        x = (1.3 * prior_sample(system, batch, seed=3)).astype(np.float32)
        nll, grad = gradient(system, p, x)
        report(f"{name} nll (nat)", abs(nll - reference_nll(system, p, x)), 3e-4)
        rng = np.random.default_rng(4)
        for group in TRAINED:
            worst = 0.0
            magnitude = float(np.linalg.norm(grad[group]))
            for _ in range(3):
                direction = rng.standard_normal(p[group].shape)
                direction /= np.linalg.norm(direction)
                ends = []
                for sign in (+1.0, -1.0):
                    q = {n: v.astype(np.float64) for n, v in p.items()}
                    q[group] = q[group] + sign * 1e-4 * direction
                    ends.append(reference_nll(system, q, x))
                want = (ends[0] - ends[1]) / 2e-4
                worst = max(worst, abs(float((grad[group] * direction).sum()) - want) / magnitude)
            report(f"{name} gradient of {group} (relative to its norm {magnitude:.2g})", worst, 1e-3)
    return failures


# --- the measuring protocol -------------------------------------------------------------------------------------------


def cpu_model():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()


def loaded_blas():
    """The BLAS libraries mapped into this process: what the dynamic linker really chose."""
    found = set()
    with open("/proc/self/maps", encoding="utf-8") as f:
        for line in f:
            path = line.split(maxsplit=5)[-1].strip()
            base = os.path.basename(path)
            if any(word in base.lower() for word in ("blas", "mkl", "eigen", "blis")) and base.count(".so"):
                found.add(os.path.realpath(path))
    return sorted(found)


class Peer:
    """One implementation. prepare() gives a function that does the task once and returns a finite number."""

    name = ""
    tasks = ("sample", "train")
    threads = 1

    def versions(self):
        return {"python": platform.python_version(), "numpy": np.__version__}

    def best_batch(self, task, system):
        """The batch size at which this peer was found fastest per sample."""
        raise NotImplementedError

    def prepare(self, task, system, batch):
        raise NotImplementedError


def measure(call, seconds):
    """Times single calls until `seconds` have passed, at least one. Returns the times and the last value."""
    times = []
    begin = time.perf_counter()
    while True:
        start = time.perf_counter()
        value = call()
        now = time.perf_counter()
        times.append(now - start)
        if now - begin >= seconds:
            return times, value


def serve(peer):
    """Answers the protocol of compare.py on stdin and stdout until `quit` or the end of the input."""
    prepared = {}

    def ready(task, system_name, batch):
        if task not in peer.tasks:
            raise ValueError(f"{peer.name} has no task '{task}', only {', '.join(peer.tasks)}")
        if system_name not in SYSTEMS:
            raise ValueError(f"unknown system '{system_name}', known: {', '.join(SYSTEMS)}")
        system = SYSTEMS[system_name]
        batch = int(batch) or peer.best_batch(task, system)
        key = (task, system_name, batch)
        seconds = 0.0
        if key not in prepared:
            start = time.perf_counter()
            call = peer.prepare(task, system, batch)
            call()
            seconds = time.perf_counter() - start
            prepared[key] = call
        return prepared[key], batch, seconds

    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "quit":
                return
            if words[0] == "info":
                answer = {
                    "versions": peer.versions(),
                    "blas": loaded_blas(),
                    "cpu": cpu_model(),
                    "affinity": len(os.sched_getaffinity(0)),
                    "threads": peer.threads,
                    "tasks": list(peer.tasks),
                }
            elif words[0] == "prepare" and len(words) == 4:
                _, batch, seconds = ready(*words[1:4])
                answer = {"task": words[1], "system": words[2], "batch": batch, "prepare_seconds": seconds}
            elif words[0] == "measure" and len(words) in (4, 5):
                call, batch, _ = ready(*words[1:4])
                times, value = measure(call, float(words[4]) if len(words) == 5 else 0.0)
                if not np.isfinite(value):
                    raise ArithmeticError(f"the result of {' '.join(words)} is not finite: {value}")
                seconds = statistics.median(times)
                answer = {
                    "task": words[1],
                    "system": words[2],
                    "batch": batch,
                    "threads": peer.threads,
                    "calls": len(times),
                    "seconds_per_call": seconds,
                    "samples_per_second": batch / seconds,
                    "value": float(value),
                }
            else:
                raise ValueError(f"unknown request '{line.strip()}'")
        except Exception as error:  # any failure is the answer; the driver decides whether to go on
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"peer": peer.name, **answer}), flush=True)


def main(description, make_peer, check_peer, add_options=None):
    """The command line that all peers share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--check", action="store_true", help="compare with the double-precision reference and exit")
    parser.add_argument(
        "--measure", nargs=4, metavar=("TASK", "SYSTEM", "BATCH", "SECONDS"), help="one measurement and exit"
    )
    if add_options:
        add_options(parser)
    options = parser.parse_args()
    peer = make_peer(options)
    peer.threads = options.threads
    if options.check:
        sys.exit(1 if check_peer(peer) else 0)
    if options.measure:
        read, write = os.pipe()
        os.write(write, f"measure {' '.join(options.measure)}\n".encode())
        os.close(write)
        sys.stdin = os.fdopen(read)
    serve(peer)
