#!/usr/bin/env python3
"""Two builds of eqflow beside each other: CPU time of whole processes, in turns.

    tests/bench/programs.py NEW OLD [--turns N] [--cases PATTERN] [--limit RATIO]

Each case is the same command of both programs, with warm caches of their own, in the order A B B A ..., so that what else
the machine does falls on both. Printed: the median of user + system time of each (getrusage of the child; a loaded machine
changes wall time far more), and their ratio with the median of the ratios of neighbours. Steps are given, so that both do
the same work. Exit code 1 if a ratio is above --limit.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

CASES = {
    "start_up": ["sample", "dw2.safetensors", "-n", "1", "-o", "x.npy", "--integration-steps", "20"],
    "train_lj13": ["train", "lj13", "--data", "lj13.npy", "--integration-steps", "20", "--steps", "100", "--seed", "5",
                   "-o", "trained.safetensors"],
    "sample_dw4": ["sample", "dw4.safetensors", "-n", "1e6", "-o", "x.npy", "--integration-steps", "20"],
    "log_prob_dw4": ["log-prob", "dw4.safetensors", "--data", "many.npy", "-o", "p.npy", "--integration-steps", "20"],
}


def run(program: str, cache: str, words: list[str]) -> float:
    """CPU seconds of the process."""
    environment = dict(os.environ, XDG_CACHE_HOME=cache, POCL_CACHE_DIR=os.path.join(cache, "pocl"))
    os.makedirs(environment["POCL_CACHE_DIR"], exist_ok=True)
    with open("output", "wb") as output:
        child = subprocess.Popen([program, *words, "--quiet"], env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        with open("output", encoding="utf-8", errors="replace") as output:
            sys.exit(f"{program} {' '.join(words)}: {output.read().strip().splitlines()[-1]}")
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("new")
    parser.add_argument("old")
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--cases", default=".")
    parser.add_argument("--limit", type=float, default=1.03)
    arguments = parser.parse_args()
    programs = {"new": os.path.realpath(arguments.new), "old": os.path.realpath(arguments.old)}
    is_above = False
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        caches = {name: os.path.join(folder, name) for name in programs}
        # Models and data are the old program's, for both.
        for system, number in (("dw2", "600"), ("dw4", "600"), ("lj13", "2000")):
            run(programs["old"], caches["old"], ["data", system, "-n", number, "--seed", "11", "-o", system + ".npy"])
        for system in ("dw2", "dw4"):
            run(programs["old"], caches["old"], ["train", system, "--data", system + ".npy", "--integration-steps", "20",
                                                 "--steps", "200", "--seed", "5", "-o", system + ".safetensors"])
        if re.search(arguments.cases, "log_prob_dw4"):
            run(programs["old"], caches["old"], ["sample", "dw4.safetensors", "-n", "1e6", "-o", "many.npy"])
        print(f"{'case':14} {'new (s)':>9} {'old (s)':>9} {'ratio':>7} {'neighbours':>11}")
        for name, words in CASES.items():
            if not re.search(arguments.cases, name):
                continue
            seconds: dict[str, list[float]] = {"new": [], "old": []}
            for program in programs:
                run(programs[program], caches[program], words)  # builds what it needs
            for turn in range(arguments.turns):
                for program in ("new", "old") if turn % 2 == 0 else ("old", "new"):
                    seconds[program].append(run(programs[program], caches[program], words))
            new, old = (statistics.median(seconds[program]) for program in ("new", "old"))
            pairs = statistics.median(n / o for n, o in zip(seconds["new"], seconds["old"]))
            print(f"{name:14} {new:9.3f} {old:9.3f} {new / old:7.3f} {pairs:11.3f}", flush=True)
            is_above = is_above or new / old > arguments.limit
    return 1 if is_above else 0


if __name__ == "__main__":
    sys.exit(main())
