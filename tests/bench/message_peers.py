#!/usr/bin/env python3
"""The message field of eqflow beside the same network in JAX and in PyTorch, on one core of this machine.

    tests/bench/message_peers.py MODEL [--eqflow PROGRAM] [--bench PROGRAM] [--jax-python P] [--torch-python P] [--rounds 3]

First a check: log-densities of 4 configurations in float64, the same steps, by each peer (divergence by automatic
differentiation) against `eqflow log-prob --precision double`. Then speed, in turns: samples with their exact log-density with
--steps steps of the program's integrator (four velocities and two divergences each) in float32, by

    eqflow   its program; what a sample costs is the difference of two runs of different -n, start-up left out
    jax      jitted, the divergence by forward mode (one jvp a coordinate, under vmap), mapped over the batch; compiled before
    torch    eager, the divergence by reverse mode (one backward pass a coordinate), as continuous flows in PyTorch do it

Processor time of all threads (user and system), each process bound to one CPU, so that what else runs on the machine adds
little. Ratios are medians over rounds of peer / mean of the two runs of eqflow around it. Then eqflow alone: samples a second by
the model's own steps, training steps of flow matching, and what the divergence costs (bench_message).
A peer that is not installed is skipped, and says so.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import message_net

CHECKED = 4
CHECK_STEPS = 3


# ---- A peer's process: one line in, one line out -----------------------------------------------------------------------------


def jax_field(net, jax):
    jnp = jax.numpy
    dof = net.num_particles * net.space_dim
    basis = jnp.eye(dof, dtype=net.centres.dtype).reshape(dof, net.num_particles, net.space_dim)

    def one(x, t):
        def directional(e):
            v, along = jax.jvp(lambda y: net.velocity(y, t), (x,), (e,))
            return v, (e * along).sum()

        v, parts = jax.vmap(directional, out_axes=(None, 0))(basis)
        return v, parts.sum()

    return jax.vmap(one, in_axes=(0, None))


def torch_field(net, torch):
    def field(x, t):
        x = x.detach().requires_grad_(True)
        v = net.velocity(x, t)
        flat, divergence = v.flatten(1), 0.0
        for c in range(flat.shape[1]):
            (by_x,) = torch.autograd.grad(flat[:, c].sum(), x, retain_graph=c + 1 < flat.shape[1])
            divergence = divergence + by_x.flatten(1)[:, c]
        return v.detach(), divergence

    return field


class Jax:
    def __init__(self):
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["JAX_PLATFORMS"] = "cpu"
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax, self.compiled = jax, {}
        self.version = jax.__version__

    def network(self, options, p, kind):
        return message_net.Network(self.jax.numpy, options, {n: self.jax.numpy.asarray(v, dtype=kind) for n, v in p.items()})

    def solve(self, net, x, steps, sign):
        key = (x.shape, str(x.dtype), steps, sign)
        if key not in self.compiled:
            field, jnp = jax_field(net, self.jax), self.jax.numpy

            def step(state, index):
                t = jnp.asarray(index / steps if sign > 0 else 1 - index / steps, dtype=state[0].dtype)
                return net.step(field, net.velocity, state, t, sign / steps), None

            def whole(y):
                start = (y, jnp.zeros(y.shape[0], dtype=y.dtype), *field(y, jnp.asarray(0.0 if sign > 0 else 1.0, dtype=y.dtype)))
                return self.jax.lax.scan(step, start, jnp.arange(steps))[0][:2]

            self.compiled[key] = self.jax.jit(whole)
        end, total = self.compiled[key](self.jax.numpy.asarray(x))
        return np.asarray(end), np.asarray(total)


class Torch:
    def __init__(self):
        import torch

        torch.set_num_threads(1)
        self.torch, self.version = torch, torch.__version__

    def network(self, options, p, kind):
        kind = {np.float32: self.torch.float32, np.float64: self.torch.float64}[kind]
        return message_net.Network(self.torch, options, {n: self.torch.tensor(v, dtype=kind) for n, v in p.items()})

    def solve(self, net, x, steps, sign):
        def velocity(y, t):
            with self.torch.no_grad():
                return net.velocity(y, t)

        end, total = net.solve(torch_field(net, self.torch), velocity, self.torch.tensor(x), steps, sign)
        return end.numpy(), total.numpy()


def serve(name, path):
    try:
        peer = {"jax": Jax, "torch": Torch}[name]()
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    options, p = message_net.load(path)
    nets = {kind: peer.network(options, p, kind) for kind in (np.float32, np.float64)}
    print(json.dumps({"version": peer.version}), flush=True)
    rng = np.random.default_rng(1)
    for line in sys.stdin:
        task = json.loads(line)
        if task["do"] == "check":
            x = np.array(task["x"])
            z, log_det = peer.solve(nets[np.float64], x - x.mean(axis=1, keepdims=True), task["steps"], -1)
            net = nets[np.float64]
            squares = (z * z).sum(axis=(1, 2))
            constant = (net.num_particles - 1) * net.space_dim * (np.log(net.scale) + 0.5 * np.log(2 * np.pi))
            print(json.dumps({"log_prob": (-squares / (2 * net.scale**2) - constant + log_det).tolist()}), flush=True)
            continue
        net = nets[np.float32]
        shape = (task["batch"], net.num_particles, net.space_dim)
        begin = time.process_time()
        z = rng.standard_normal(shape)
        z = (net.scale * (z - z.mean(axis=1, keepdims=True))).astype(np.float32)
        x, log_det = peer.solve(net, z, task["steps"], 1)
        seconds = time.process_time() - begin
        if not np.isfinite(x).all():
            raise SystemExit(f"{name}: samples are not finite")
        print(json.dumps({"seconds": seconds}), flush=True)


class Peer:
    def __init__(self, name, python, model, cpu):
        self.name = name
        command = ["taskset", "-c", str(cpu), python, os.path.abspath(__file__), model, "--serve", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = json.loads(self.process.stdout.readline() or '{"missing": "it does not start"}')

    def ask(self, **task):
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended")
        return json.loads(line)


# ---- eqflow -------------------------------------------------------------------------------------------------------------------


def run(command, cpu):
    """Its output and processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = dict(os.environ, POCL_MAX_PTHREAD_COUNT="1", OMP_NUM_THREADS="1")
    done = subprocess.run(["taskset", "-c", str(cpu), *command], capture_output=True, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def eqflow_sample(o, folder, steps, nums):
    """Seconds a sample, from the difference of two runs."""
    times = []
    for num in nums:
        command = [o.eqflow, "sample", o.model, "-n", str(num), "-o", f"{folder}/x.npy", "--log-prob", f"{folder}/p.npy", "--quiet"]
        if steps:
            command += ["--integration-steps", str(steps)]
        times.append(run(command, o.cpu)[1])
    return (times[1] - times[0]) / (nums[1] - nums[0])


def check(o, options, peers, folder):
    n, d = options["potential"]["num_particles"], options["potential"]["space_dim"]
    run([o.eqflow, "data", options["preset"], "-n", str(CHECKED), "-o", f"{folder}/data.npy", "--quiet"], o.cpu)
    x = np.load(f"{folder}/data.npy").reshape(CHECKED, n, d)
    command = [o.eqflow, "log-prob", o.model, "--data", f"{folder}/data.npy", "-o", f"{folder}/p.npy", "--precision", "double"]
    run([*command, "--integration-steps", str(CHECK_STEPS), "--quiet"], o.cpu)
    expected = np.load(f"{folder}/p.npy").astype(np.float64).tolist()  # computed in double, rounded once
    worst = {}
    for peer in peers:
        values = peer.ask(do="check", x=x.astype(np.float64).tolist(), steps=CHECK_STEPS)["log_prob"]
        worst[peer.name] = max(abs(a - b) / max(1, abs(b)) for a, b in zip(values, expected))
        print(f"check: {peer.name} {peer.about['version']}, float64, against eqflow in double: {worst[peer.name]:.2g} (relative)")
        if not worst[peer.name] < 1e-6:
            raise SystemExit(f"{peer.name} has other log-densities: {values}, eqflow {expected}")
    return worst


def measure(o, peers, folder):
    rows = []
    for peer in peers:
        batch = o.jax_batch if peer.name == "jax" else o.torch_batch
        peer.ask(do="run", batch=batch, steps=o.steps)  # compiles
    eqflow_sample(o, folder, o.steps, (16, 32))
    for peer in peers:
        batch = o.jax_batch if peer.name == "jax" else o.torch_batch
        ratios, own, others = [], [], []
        for _ in range(o.rounds):
            before = eqflow_sample(o, folder, o.steps, (o.num // 4, o.num))
            other = peer.ask(do="run", batch=batch, steps=o.steps)["seconds"] / batch
            after = eqflow_sample(o, folder, o.steps, (o.num // 4, o.num))
            own.append(0.5 * (before + after))
            others.append(other)
            ratios.append(other / own[-1])
        row = {"peer": peer.name, "version": peer.about["version"], "batch": batch, "ms": 1e3 * statistics.median(others),
               "eqflow_ms": 1e3 * statistics.median(own), "ratio": statistics.median(ratios), "ratios": ratios}
        rows.append(row)
        print(f"{peer.name}: {row['ms']:.1f} ms a sample, eqflow {row['eqflow_ms']:.2f}: {row['ratio']:.1f} times "
              f"({min(ratios):.1f} ... {max(ratios):.1f})", flush=True)
    return rows


def alone(o, options, folder):
    own_steps = options["integrator"]["num_steps"]
    seconds = eqflow_sample(o, folder, 0, (o.num // 4, o.num))
    print(f"samples with exact log-density by RK4 with the model's own {own_steps} steps: {1 / seconds:.1f} a second and core")
    result = {"own_steps": own_steps, "samples_a_second_and_core": 1 / seconds}
    preset, dynamics = options["preset"], options["dynamics"]
    flags = ["--num-hops", dynamics["num_hops"], "--num-scalars", dynamics["num_scalars"], "--num-vectors", dynamics["num_vectors"],
             "--num-edge", dynamics["num_edge"], "--num-reduced", dynamics["num_reduced"], "--num-distance", dynamics["num_distance"]]
    run([o.eqflow, "data", preset, "-n", "1200", "-o", f"{folder}/train.npy", "--quiet"], o.cpu)
    times, steps = [], (10, 60)
    for count in steps:
        command = [o.eqflow, "train", preset, "--data", f"{folder}/train.npy", "-o", f"{folder}/t.safetensors", "--field", "message",
                   *map(str, flags), "--stage", f"flow-matching,steps={count},batch={o.matching_batch}{o.matching}",
                   "--validation-interval", "1000", "--integration-steps", "2", "--quiet"]
        times.append(run(command, o.cpu)[1])
    result["matching"] = o.matching_batch * (steps[1] - steps[0]) / (times[1] - times[0])
    print(f"flow matching, batch {o.matching_batch}{o.matching}: {result['matching']:.0f} samples a second and core")
    if o.bench:
        text, _ = run([o.bench], o.cpu)
        print(text.rstrip())
        result["bench_message"] = text.splitlines()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--serve", choices=("jax", "torch"), help=argparse.SUPPRESS)
    parser.add_argument("--eqflow", default="eqflow")
    parser.add_argument("--bench", help="bench_message")
    parser.add_argument("--jax-python", default=sys.executable)
    parser.add_argument("--torch-python", default="/usr/bin/python3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="of RK4, for the comparison")
    parser.add_argument("--num", type=int, default=256, help="samples of eqflow's longer run")
    parser.add_argument("--jax-batch", type=int, default=16)
    parser.add_argument("--torch-batch", type=int, default=16)
    parser.add_argument("--matching-batch", type=int, default=256)
    parser.add_argument("--matching", default="", help="more of the stage: ,pairing=none")
    parser.add_argument("--cpu", type=int, default=0, help="the CPU that each process is bound to")
    parser.add_argument("--json", help="figures to this file")
    o = parser.parse_args()
    if o.serve:
        return serve(o.serve, o.model)
    options, _ = message_net.load(o.model)
    peers = []
    for name, python in (("jax", o.jax_python), ("torch", o.torch_python)):
        peer = Peer(name, python, o.model, o.cpu)
        if "missing" in peer.about:
            print(f"skipped: {name} ({peer.about['missing']})")
        else:
            peers.append(peer)
    with tempfile.TemporaryDirectory() as folder:
        result = {"check": check(o, options, peers, folder), "peers": measure(o, peers, folder), "eqflow": alone(o, options, folder)}
    if o.json:
        with open(o.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
