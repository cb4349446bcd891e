#!/usr/bin/env python3
"""Compares eqflow with its peers, interleaved in one run: medians of ratios with their spread.

Every contestant is a long-lived process that reads requests, one a line, on stdin and answers each with one JSON
object on one line of stdout (stderr is free). The peers of this folder speak this protocol, and so does
`eqflow bench --serve`:

  info
      {"peer", "versions": {...}, "cpu", "affinity", "threads", "tasks": [...], "blas": [...]}
  prepare TASK SYSTEM BATCH
      builds what the task needs and runs it once: {"peer", "task", "system", "batch", "prepare_seconds"}
  measure TASK SYSTEM BATCH [SECONDS]
      repeats the call until SECONDS have passed (default 0: one call), prepares first if that was not done:
      {"peer", "task", "system", "batch", "threads", "calls", "seconds_per_call" (the median), "samples_per_second",
       "value"}
  model SYSTEM PATH
      eqflow only: writes a freshly initialised model file: {"peer", "model"}
  quit
      ends the process; so does the end of stdin

A failed request is answered {"peer", "error": "one line"} and the process goes on. BATCH 0 means the contestant's own
best batch; the answer says which. `value` must be a finite number (mean log-density, loss, mean energy).

  TASK    one call is                                                                            BATCH counts
  sample  new latents, RK4 with 20 steps to the data side; configurations and log_prob on host   samples
  train   one DTO step of maximum likelihood: 620 gradients, Adam, tables built anew             samples
  mcmc    one Metropolis sweep of all chains                                                     chains

A call may hold several sweeps if they are counted: seconds_per_call is for one sweep of all chains.

Each peer measurement stands between two of eqflow, and a ratio is peer time / mean of the two, per sample: a change of
the clock during the run does not enter. The ratio is given at the same batch and for eqflow's own best batch, labelled.
"""

import argparse
import datetime
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SYSTEM_PYTHON = "/usr/bin/python3"

# File and arguments of each peer, and whether it runs in JAX's interpreter.
PEERS = {
    "torch_plain": (["torch_plain.py"], False),
    "torch_table": (["torch_table.py", "--style", "idiomatic"], False),
    "torch_table_tuned": (["torch_table.py", "--style", "tuned"], False),
    "jax_direct": (["jax_field.py", "--variant", "direct"], True),
    "jax_table": (["jax_field.py", "--variant", "table"], True),
    "numpy_mcmc": (["numpy_mcmc.py"], False),
}
FLOW_PEERS = [name for name in PEERS if name != "numpy_mcmc"]

# (task, system): batch for everybody, then exceptions where one call would take minutes. Small batches do not hurt the
# plain peer: its per-sample time is lowest when its tensors fit the cache.
CASES = {
    ("sample", "dw4"): (256, {}),
    ("sample", "lj13"): (256, {}),
    ("sample", "lj55"): (256, {"torch_plain": 8, "jax_direct": 32}),
    ("train", "dw4"): (256, {}),
    ("train", "lj13"): (256, {}),
    ("train", "lj55"): (32, {}),
    ("mcmc", "lj13"): (4096, {}),
}
TARGETS = {
    ("sample", "dw4", "torch_plain"): 1500,
    ("sample", "lj13", "torch_plain"): 1200,
    ("sample", "lj55", "torch_plain"): 1500,
    ("sample", "dw4", "torch_table"): 40,
    ("sample", "lj13", "torch_table"): 40,
    ("sample", "lj55", "torch_table"): 40,
    ("sample", "dw4", "torch_table_tuned"): 40,
    ("sample", "lj13", "torch_table_tuned"): 40,
    ("sample", "lj55", "torch_table_tuned"): 40,
    ("train", "dw4", "torch_plain"): 500,
    ("train", "lj13", "torch_plain"): 1100,
    ("train", "lj55", "torch_plain"): 1000,
    ("mcmc", "lj13", "numpy_mcmc"): 100,
}


class ContestantError(Exception):
    pass


class Contestant:
    """A process that speaks the protocol."""

    def __init__(self, name, command, environment, cpus, timeout):
        self.name, self.timeout = name, timeout
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )
        self.pending = b""

    def ask(self, request):
        """The answer as a dict. Raises ContestantError for an error, a dead process, or silence."""
        try:
            self.process.stdin.write(request.encode() + b"\n")
        except OSError as error:
            raise ContestantError(f"{self.name} is gone: {error}") from error
        deadline = time.monotonic() + self.timeout
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.process.kill()
                raise ContestantError(f"{self.name} did not answer '{request}' within {self.timeout} s and was ended")
            part = os.read(self.process.stdout.fileno(), 65536)
            if not part:
                raise ContestantError(f"{self.name} ended at '{request}', exit status {self.process.wait()}")
            self.pending += part
        line, self.pending = self.pending.split(b"\n", 1)
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise ContestantError(f"{self.name} answered '{request}' with no JSON: {line[:200]!r}") from error
        if "error" in answer:
            raise ContestantError(f"{self.name}, '{request}': {answer['error']}")
        return answer

    def measure(self, task, system, batch, seconds):
        answer = self.ask(f"measure {task} {system} {batch} {seconds}")
        value = answer["value"]
        if not (answer["seconds_per_call"] > 0.0 and value - value == 0.0):
            raise ContestantError(f"{self.name} gave a meaningless result: {answer}")
        return answer

    def close(self):
        if self.process.poll() is None:
            try:
                self.process.stdin.write(b"quit\n")
                self.process.stdin.close()
                self.process.wait(timeout=20)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
                self.process.wait()


def quartiles(values):
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return [values[0]] * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def peer_command(name, options):
    arguments, needs_jax = PEERS[name]
    python = options.jax_python if needs_jax else options.python
    return [python, os.path.join(HERE, arguments[0]), *arguments[1:], "--threads", str(options.threads)]


def environment_for(options):
    threads = str(options.threads)
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POCL_MAX_PTHREAD_COUNT"):
        environment[name] = threads
    if options.malloc == "keep":
        # Freed memory is kept: without this every large tensor is mapped, zeroed and unmapped again.
        environment["MALLOC_MMAP_THRESHOLD_"] = environment["MALLOC_TRIM_THRESHOLD_"] = str(2**32)
    return environment


def compare_case(case, subject, peers, options, log):
    """All rounds of one case: one result for each peer."""
    task, system = case
    common, exceptions = CASES[case]
    results = {}
    for name in peers:
        batch = options.batches.get((task, system, name), exceptions.get(name, common))
        try:
            batch = peers[name].ask(f"prepare {task} {system} {batch}")["batch"]
            for own in (batch, 0):
                subject.ask(f"prepare {task} {system} {own}")
        except ContestantError as error:
            log(f"left out: {error}")
            results[name] = {"task": task, "system": system, "peer": name, "batch": batch, "error": str(error)}
            continue
        results[name] = {"task": task, "system": system, "peer": name, "batch": batch, "rounds": []}

    def per_sample(contestant, batch, seconds):
        answer = contestant.measure(task, system, batch, seconds)
        time.sleep(options.pause)
        return answer["seconds_per_call"] / answer["batch"], answer["batch"]

    for index in range(options.rounds):
        for name, result in results.items():
            if "error" in result:
                continue
            log(f"{task} {system} {name}: round {index + 1} of {options.rounds}")
            try:
                before = [per_sample(subject, b, options.subject_seconds) for b in (result["batch"], 0)]
                peer_seconds, _ = per_sample(peers[name], result["batch"], options.peer_seconds)
                after = [per_sample(subject, b, options.subject_seconds) for b in (0, result["batch"])][::-1]
            except ContestantError as error:
                log(f"left out: {error}")
                result["error"] = str(error)
                continue
            same, best = ((a[0] + b[0]) / 2.0 for a, b in zip(before, after))
            result["best_batch"] = before[1][1]
            result["rounds"].append(
                {
                    "peer_seconds_per_sample": peer_seconds,
                    "subject_seconds_per_sample": same,
                    "subject_best_seconds_per_sample": best,
                    "ratio_same_batch": peer_seconds / same,
                    "ratio_best_batch": peer_seconds / best,
                }
            )
    for result in results.values():
        rounds = result.get("rounds")
        if rounds and "error" not in result:
            for key in rounds[0]:
                result[key] = quartiles([r[key] for r in rounds])
            result["target"] = TARGETS.get((task, system, result["peer"])) if subject.name == "eqflow" else None
    return list(results.values())


def compare_process(subject, options, environment, cpus, log):
    """Wall time of whole processes, alternating: 10,000 lj13 samples with log_prob, and python3 -c "import torch"."""
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model.safetensors")
        try:
            subject.ask(f"model lj13 {model}")
        except ContestantError as error:
            return {"error": str(error)}
        output = [os.path.join(folder, f) for f in ("x.npy", "log_prob.npy")]
        commands = {
            "eqflow": [
                *options.eqflow.split(),
                "sample",
                model,
                "-n",
                "10000",
                "-o",
                output[0],
                "--log-prob",
                output[1],
                "--quiet",
            ],
            "import_torch": [options.python, "-c", "import torch"],
        }
        times = {name: [] for name in commands}
        for index in range(options.rounds + 1):  # the first fills the program cache and the page cache
            for name, command in commands.items():
                start = time.perf_counter()
                done = subprocess.run(
                    command,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    check=False,
                    preexec_fn=lambda: os.sched_setaffinity(0, cpus),
                )
                seconds = time.perf_counter() - start
                if done.returncode != 0:
                    what = f"{' '.join(command)}: exit status {done.returncode}"
                    return {"error": f"{what}: {done.stderr.decode(errors='replace')[-300:].strip()}"}
                if index > 0:
                    times[name].append(seconds)
                for path in output:
                    if name == "eqflow" and not os.path.getsize(path):
                        return {"error": f"{path} is empty"}
                    if name == "eqflow":
                        os.unlink(path)
        log("process times taken")
        ratios = [a / b for a, b in zip(times["import_torch"], times["eqflow"])]
        return {
            "eqflow_seconds": quartiles(times["eqflow"]),
            "import_torch_seconds": quartiles(times["import_torch"]),
            "ratio": quartiles(ratios),
            "rounds": times,
        }


def number(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def markdown(report):
    subject = report["environment"]["subject"]
    lines = [
        "Times are microseconds a sample (mcmc: a chain-sweep), medians of "
        f"{report['environment']['rounds']} rounds; ratios are medians [quartiles] of peer / {subject} in a round.",
        "",
        f"| task | system | peer | batch | peer | {subject}, same batch | ratio, same batch | {subject}, its best "
        "batch | ratio, its best batch | target, same batch |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in report["results"]:
        head = f"| {r['task']} | {r['system']} | {r['peer']} | {r['batch']} "
        if "error" in r:
            lines.append(head + f"| failed: {r['error']} | | | | | |")
            continue
        micro = lambda key: number(1e6 * r[key][1])
        ratio = lambda key: f"**{number(r[key][1])}** [{number(r[key][0])}, {number(r[key][2])}]"
        target = r["target"]
        is_reached = target is not None and r["ratio_same_batch"][1] >= target
        outcome = "" if target is None else f"{target}: {'reached' if is_reached else 'not reached'}"
        lines.append(
            head + f"| {micro('peer_seconds_per_sample')} | {micro('subject_seconds_per_sample')} "
            f"| {ratio('ratio_same_batch')} | {micro('subject_best_seconds_per_sample')} (batch {r['best_batch']}) "
            f"| {ratio('ratio_best_batch')} | {outcome} |"
        )
    process = report.get("process")
    if process:
        lines.append("")
        if "error" in process:
            lines.append(f"Process times failed: {process['error']}")
        else:
            a, b, c = (process[k] for k in ("eqflow_seconds", "import_torch_seconds", "ratio"))
            lines.append(
                f"Whole process, lj13, 10,000 samples with log-density, warm cache: eqflow {a[1]:.3f} s; "
                f"`python3 -c 'import torch'` {b[1]:.3f} s; ratio {number(c[1])} [{number(c[0])}, {number(c[2])}]."
            )
    e = report["environment"]
    lines += ["", f"{e['cpu']}, {e['threads']} thread(s) on CPU {e['cpus']}, malloc {e['malloc']}, {e['date']}."]
    for name, info in e["contestants"].items():
        versions = ", ".join(f"{k} {v}" for k, v in info.get("versions", {}).items())
        blas = ", ".join(os.path.basename(os.path.dirname(p)) + "/" + os.path.basename(p) for p in info.get("blas", []))
        lines.append(f"- {name}: {versions}" + (f"; BLAS {blas}" if blas else ""))
    return "\n".join(lines)


def parse_batch(text):
    try:
        case, batch = text.split("=")
        task, system, peer = case.split(":")
        return (task, system, peer), int(batch)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not TASK:SYSTEM:PEER=BATCH") from error


def parse_case(text):
    case = tuple(text.split(":"))
    if case not in CASES:
        raise argparse.ArgumentTypeError(f"'{text}': known are {', '.join(':'.join(c) for c in CASES)}")
    return case


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eqflow", default="eqflow", help="the program (default eqflow)")
    parser.add_argument("--subject", default="eqflow", help="instead of eqflow, a peer: tests this driver")
    parser.add_argument("--peers", default="", help="comma-separated; default all but JAX's, with --jax-python all")
    parser.add_argument("--cases", type=parse_case, nargs="+", default=list(CASES), metavar="TASK:SYSTEM")
    parser.add_argument(
        "--batch",
        type=parse_batch,
        nargs="+",
        default=[],
        metavar="TASK:SYSTEM:PEER=BATCH",
        help="another batch for a peer; 0: its own best",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--subject-seconds", type=float, default=0.2, help="a measurement, at least a call (default 0.2)"
    )
    parser.add_argument("--peer-seconds", type=float, default=0.3, help="a measurement, at least a call (default 0.3)")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between measurements: threads spin on")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds to wait for one answer (default 900)")
    parser.add_argument(
        "--malloc", choices=("keep", "default"), default="keep", help="keep: freed memory is not unmapped"
    )
    parser.add_argument("--python", default=SYSTEM_PYTHON, help=f"has torch and numpy (default {SYSTEM_PYTHON})")
    parser.add_argument("--jax-python", default="", help="interpreter with jax; without it JAX is left out")
    parser.add_argument("--no-process", action="store_true", help="leave out the process times")
    parser.add_argument("--check", action="store_true", help="test every peer against the reference and exit")
    parser.add_argument("-o", "--output", default="", help="JSON report")
    options = parser.parse_args()
    options.batches = dict(options.batch)
    names = [n for n in options.peers.split(",") if n] or [n for n in PEERS if options.jax_python or not PEERS[n][1]]
    for name in names + ([options.subject] if options.subject != "eqflow" else []):
        if name not in PEERS:
            parser.error(f"unknown peer '{name}', known: {', '.join(PEERS)}")
        if PEERS[name][1] and not options.jax_python:
            parser.error(f"{name} needs --jax-python")
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= options.threads <= len(allowed):
        parser.error(f"--threads {options.threads}: this process may use {len(allowed)} CPUs")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    cpus = allowed[-options.threads :]
    environment = environment_for(options)

    if options.check:
        commands = [[*peer_command(n, options), "--check"] for n in names]
        sys.exit(1 if sum(subprocess.run(c, env=environment, check=False).returncode != 0 for c in commands) else 0)

    log = lambda text: print(text, file=sys.stderr, flush=True)
    start = lambda name, command: Contestant(name, command, environment, cpus, options.timeout)
    contestants = {}
    try:
        subject_command = (
            [*options.eqflow.split(), "bench", "--serve"]
            if options.subject == "eqflow"
            else peer_command(options.subject, options)
        )
        subject = contestants["subject"] = start(options.subject, subject_command)
        for name in names:
            contestants[name] = start(name, peer_command(name, options))
        infos = {options.subject if n == "subject" else n: c.ask("info") for n, c in contestants.items()}
        for name, info in infos.items():
            if name.startswith("torch") and not any("openblas" in b or "mkl" in b for b in info["blas"]):
                raise ContestantError(f"{name} runs on {info['blas']}: install libopenblas0-pthread (compare.sh does)")
        report = {
            "environment": {
                "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                "cpu": infos[names[0]]["cpu"],
                "system": platform.platform(),
                "threads": options.threads,
                "cpus": cpus,
                "malloc": options.malloc,
                "rounds": options.rounds,
                "subject": options.subject,
                "variables": {
                    k: v for k, v in sorted(environment.items()) if k.endswith(("_THREADS", "_COUNT", "THRESHOLD_"))
                },
                "contestants": infos,
            },
            "results": [],
        }
        for case in options.cases:
            wanted = ["numpy_mcmc"] if case[0] == "mcmc" else FLOW_PEERS
            peers = {n: contestants[n] for n in names if n in wanted}
            if peers:
                report["results"] += compare_case(case, subject, peers, options, log)
        if options.subject == "eqflow" and not options.no_process:
            report["process"] = compare_process(subject, options, environment, cpus, log)
    except (ContestantError, OSError) as error:
        sys.exit(f"compare.py: {error}")
    finally:
        for contestant in contestants.values():
            contestant.close()

    if options.output:
        with open(options.output + ".tmp", "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1)
        os.replace(options.output + ".tmp", options.output)
    print(markdown(report))
    has_failed = any("error" in r for r in report["results"]) or "error" in report.get("process", {})
    sys.exit(1 if has_failed else 0)


if __name__ == "__main__":
    main()
