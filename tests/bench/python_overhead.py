#!/usr/bin/env python3
"""What Model.sample costs over the C function that it calls, and what importing the package costs.

    PYTHONPATH=build/python python3 tests/bench/python_overhead.py [-n 100000] [--rounds 31] [--limit 0.02] [MODEL...]

Processor time (user and system, all threads) of both in turns, in one process: eqf_flow_sample on a context and arrays of its own, as a C program
has them (without the callback that the package's context has), and Model.sample. Same model, same seed, same bits. Exit code 1: above the limit."""

import argparse
import ctypes
import resource
import statistics
import subprocess
import sys

import numpy as np

import eqflow
from eqflow import _declarations as declarations
from eqflow._library import floats, initial, library


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class BareC:
    """The calls of README's C program."""

    def __init__(self, name, shape):
        self.lib, self.context, self.model, self.flow = library(), ctypes.POINTER(declarations.eqf_context)(), ctypes.POINTER(declarations.eqf_model)(), ctypes.POINTER(declarations.eqf_flow)()
        assert self.lib.eqf_context_create(initial(declarations.eqf_context_options), self.context) == 0
        assert self.lib.eqf_model_load(self.context, name.encode(), self.model) == 0
        assert self.lib.eqf_flow_create(self.context, self.model, None, self.flow) == 0
        self.x, self.log_prob = np.empty(shape, np.float32), np.empty(shape[0], np.float32)
        self.pointers = floats(self.x), floats(self.log_prob)

    def sample(self, n, seed):
        assert self.lib.eqf_flow_sample(self.flow, seed, 0, n, *self.pointers) == 0


def measured(call):
    begin = cpu_seconds()
    result = call()
    return cpu_seconds() - begin, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["gallery:dw2-radial", "gallery:dw4-radial"])
    parser.add_argument("-n", type=int, default=100000)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--limit", type=float, default=0.02)
    args = parser.parse_args()
    is_above = False
    for name in args.models:
        model = eqflow.Model.load(name)
        bare = BareC(name, (args.n, model.num_particles, model.space_dim))
        x, log_prob = model.sample(args.n, seed=1)
        bare.sample(args.n, 1)
        assert np.array_equal(x, bare.x) and np.array_equal(log_prob, bare.log_prob)
        of_c, of_python = [], []
        for turn in range(args.rounds):
            for which in ((0, 1), (1, 0))[turn % 2]:  # neither is always the first
                if which == 0:
                    of_c.append(measured(lambda: bare.sample(args.n, turn))[0])
                else:
                    seconds, keep = measured(lambda: model.sample(args.n, seed=turn))
                    of_python.append(seconds)
        c, python = statistics.median(of_c), statistics.median(of_python)
        spread = statistics.quantiles([p / q for p, q in zip(of_python, of_c)], n=4)
        print(f"{name}, {args.n} samples: C {1e3 * c:.2f} ms, Model.sample {1e3 * python:.2f} ms of processor time; ratio of medians {python / c:.4f}, "
              f"quartiles of the ratios {spread[0]:.3f} {spread[1]:.3f} {spread[2]:.3f}")
        is_above |= python / c > 1 + args.limit
    code = "import time, numpy; t = time.process_time(); import eqflow; print(time.process_time() - t)"
    times = [float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout) for _ in range(11)]
    print(f"import eqflow (NumPy being there): {1e3 * statistics.median(times):.0f} ms of processor time")
    return 1 if is_above or statistics.median(times) > 0.2 else 0


if __name__ == "__main__":
    sys.exit(main())
