#!/usr/bin/env python3
"""Adds a model to the gallery, or checks its cards.

    card.py NAME --model FILE.safetensors --command "eqflow train ..." --seed 1 --seconds 300
    card.py NAME ...                   # a model that is in the gallery already: measured again
    card.py --write-all                # the texts of all cards from their figures
    card.py --check                    # are the texts what the figures say?
    card.py --compare [NAME] [--quick] # measures again and compares with the card, within both errors; --quick: with few samples

Measures with `eqflow evaluate` (the program: $EQFLOW_PROGRAM, else the build's, else the one on PATH), writes NAME.json (the figures as the
program gave them, and how the model was made), NAME.md (the card) and NAME.svg (its picture). Needs NumPy, and the Python package for the
picture (PYTHONPATH=build/python)."""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def program():
    built = HERE.parents[1] / "build/apps/eqflow/eqflow"
    return os.environ.get("EQFLOW_PROGRAM") or (str(built) if built.exists() else shutil.which("eqflow")) or sys.exit("card.py: no eqflow program; set EQFLOW_PROGRAM")


def evaluate(path, num, num_data, seed):
    """The figures of `eqflow evaluate --json`, with num samples and num_data test configurations; how it was called."""
    sizes = ["-n", str(num), *([] if num_data == num else ["--num-data", str(num_data)]), "--seed", str(seed)]
    command = ["evaluate", str(path), *sizes, "--json", "--quiet"]
    done = subprocess.run([program(), *command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"card.py: {done.stderr.strip()}")
    figures = json.loads(done.stdout)
    figures.pop("report", None)
    return figures, f"eqflow evaluate gallery:{path.stem} {' '.join(sizes)}"


def described(path):
    done = subprocess.run([program(), "gallery", "--json"], capture_output=True, text=True, env={**os.environ, "EQFLOW_GALLERY": str(path.parent)})
    if done.returncode != 0:
        sys.exit(f"card.py: {done.stderr.strip()}")
    (model,) = [m for m in json.loads(done.stdout)["models"] if m["name"] == path.stem]
    return {key: model[key] for key in ("system", "num_particles", "space_dim", "field", "num_params")}


# ---- The card's text -------------------------------------------------------------------------------------------------


def with_error(value, error):
    """Two digits of the error: 29.6832 +- 0.0040."""
    if value is None:
        return "not known"
    if error is None or not error > 0:
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def certificate(figures):
    """Sentences: what was compared, how far the two were apart, what it means."""
    lines = [
        f"Twice the integration steps change the likelihood by {abs(figures['nll_refined'] - figures['nll']):.1e} nat (allowed: 0.01).",
        f"Rotations, reflections, permutations and translations change log-densities by {figures['log_prob_invariance_error']:.1e} nat at most (allowed: 1e-4).",
        f"The largest of the {figures['num_samples']} weights is {100 * figures['max_weight_fraction']:.2g} % of all (allowed: 5 %).",
    ]
    return lines + [f"Warning: {warning}." for warning in figures["warnings"]]


def text_of(name, card):
    f = card["figures"]
    is_resolved = f["ess_fraction_standard_error"] < 0.5 * f["ess_fraction"]
    ess = with_error(f["ess_fraction"], f["ess_fraction_standard_error"]) if is_resolved else f"{f['ess_fraction']:.3g}"
    rows = [
        ("effective sample size", f"{ess} of {f['num_samples']} samples" + ("" if is_resolved else "; heavy tail of the weights: its error is not known")),
        ("negative log-likelihood (nats)", with_error(f["nll"], f["nll_standard_error"])),
        ("KL of the target from the model (nats)", with_error(f["kl_direct"], f["kl_direct_standard_error"])),
        ("ln Z by reweighting", with_error(f["log_z"], f["log_z_standard_error"])),
        ("mean energy: model, reweighted, data (kT)", f"{f['mean_energy_model']:.4g}, "
         f"{with_error(f['mean_energy_reweighted'], f['mean_energy_reweighted_standard_error'])}, {f['mean_energy_data']:.5g}"),
    ]
    made = [("command", f"`{card['command']}`"), ("seed", card["seed"]), ("time", f"{card['training_seconds']:.0f} s of one CPU core"),
            ("figures", f"`{card['evaluate']}`"), ("eqflow", card["version"])]
    if card.get("note"):
        made.append(("note", card["note"]))
    table = lambda pairs: "".join(f"| {key} | {value} |\n" for key, value in pairs)
    return (f"# {name}\n\n{card['system']}: {card['num_particles']} particles in {card['space_dim']} dimensions; {card['field']} field, "
            f"{card['num_params']} parameters.\n\n    eqflow sample gallery:{name} -n 1e4 -o x.npy --log-prob log_prob.npy\n\n"
            f"![Energies and pair distances of model and target]({name}.svg)\n\n| figure | |\n|---|---|\n{table(rows)}\n"
            "Errors are one standard error.\n\n## Certificate\n\n" + "".join(f" - {line}\n" for line in certificate(f)) +
            f"\n## How it was made\n\n| | |\n|---|---|\n{table(made)}")


# ---- The picture -----------------------------------------------------------------------------------------------------


def panel(left, title, axis, edges, curves):
    """One histogram panel, 320 wide; curves: (label, colour, densities, dashes)."""
    width, height, top = 290, 170, 40
    highest = max(float(max(values)) for _, _, values, _ in curves) or 1.0
    x = lambda value: left + width * (value - edges[0]) / (edges[-1] - edges[0])
    y = lambda value: top + height * (1 - value / (1.08 * highest))
    out = [f'<text x="{left}" y="{top - 12}" font-weight="bold">{title}</text>',
           f'<path d="M{left} {top + height}H{left + width}" stroke="#888"/>']
    step = 10 ** math.floor(math.log10((edges[-1] - edges[0]) / 3))
    step *= max(f for f in (1, 2, 5) if f * step <= (edges[-1] - edges[0]) / 3)
    tick = math.ceil(edges[0] / step) * step
    while tick <= edges[-1] + 1e-9:
        out.append(f'<path d="M{x(tick):.1f} {top + height}v4" stroke="#888"/><text x="{x(tick):.1f}" y="{top + height + 17}" text-anchor="middle">{tick:g}</text>')
        tick += step
    out.append(f'<text x="{left + width / 2}" y="{top + height + 36}" text-anchor="middle">{axis}</text>')
    for _, colour, values, dashes in curves:
        way = f"M{x(edges[0]):.1f} {y(0):.1f}" + "".join(f"V{y(float(v)):.1f}H{x(e):.1f}" for v, e in zip(values, edges[1:])) + f"V{y(0):.1f}"
        out.append(f'<path d="{way}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dashes}"/>')
    return "\n".join(out)


def draw(path, name, num, seed=3):
    import eqflow
    import numpy as np

    model = eqflow.Model.load(path)
    target = model.potential
    data = target.mcmc(num, seed=seed)
    samples = model.sample(num, seed=seed)
    energy = np.asarray(target.energy(samples.x), float)
    log_weights = -energy - samples.log_prob
    weights = np.exp(log_weights - log_weights[np.isfinite(log_weights)].max())
    weights[~np.isfinite(weights)] = 0
    upper = np.triu_indices(target.num_particles, 1)
    pairs = lambda x: np.linalg.norm(x[:, upper[0]] - x[:, upper[1]], axis=-1)
    distance, distance_data = pairs(samples.x), pairs(data.x)
    is_worth_it = weights.sum() ** 2 / (weights**2).sum() > 100

    def curves(of_data, of_model, edges, share):
        density = lambda values, w=None: np.histogram(values, edges, weights=w, density=False)[0] / (np.sum(w) if w is not None else np.size(values)) / np.diff(edges)
        rows = [("target (Monte Carlo)", "#888888", density(of_data.ravel()), ""), ("model", "#d55e00", density(of_model.ravel()), "")]
        if is_worth_it:
            rows.append(("model, reweighted", "#0072b2", density(of_model.ravel(), np.repeat(weights, share) / 1.0) , "4 3"))
        return rows

    low, high = np.quantile(data.energy, 0.0005), np.quantile(np.concatenate([data.energy, energy]), 0.95)
    energies = np.linspace(low, high, 61)
    lengths = np.linspace(0.95 * min(np.quantile(distance, 0.0005), distance_data.min()), 1.02 * distance_data.max(), 61)
    of_energy, of_distance = curves(data.energy, energy, energies, 1), curves(distance_data, distance, lengths, len(upper[0]))
    legend, place = "", 20
    for label, colour, _, dashes in of_energy:
        legend += f'<path d="M{place} 268h24" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/><text x="{place + 30}" y="272">{label}</text>'
        place += 60 + 7 * len(label)
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 285" font-family="sans-serif" font-size="12" fill="#222">'
           f'<title>{name}: energies and pair distances</title><rect width="660" height="285" fill="#fff"/>\n'
           f'{panel(20, "Energies", "energy (kT)", energies, of_energy)}\n{panel(350, "Pair distances", "distance", lengths, of_distance)}\n{legend}</svg>\n')
    (path.parent / f"{name}.svg").write_text(svg)


# ---- Commands --------------------------------------------------------------------------------------------------------


def add(args):
    path = HERE / f"{args.name}.safetensors"
    if args.model and pathlib.Path(args.model).resolve() != path:
        shutil.copyfile(args.model, path)
    old_path = path.with_suffix(".json")
    old = json.loads(old_path.read_text()) if old_path.exists() else {}
    for key, value in (("command", args.command), ("seed", args.seed), ("training_seconds", args.seconds), ("note", args.note)):
        if value is not None:
            old[key] = value
    missing = [key for key in ("command", "seed", "training_seconds") if key not in old]
    if missing:
        sys.exit(f"card.py: {', '.join(missing)} of {args.name}: not given")
    with tempfile.TemporaryDirectory() as folder:  # the list of one model: others may be half made
        shutil.copyfile(path, pathlib.Path(folder) / path.name)
        about = described(pathlib.Path(folder) / path.name)
    figures, how = evaluate(path, args.num, args.num_data or args.num, args.evaluate_seed)
    version = subprocess.run([program(), "--version"], capture_output=True, text=True).stdout.split()[-1]
    made = {key: old[key] for key in ("command", "seed", "training_seconds", "note") if key in old}
    card = {**about, **made, "version": version, "evaluate": how, "figures": figures}
    old_path.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    path.with_suffix(".md").write_text(text_of(args.name, card))
    draw(path, args.name, 20000 if about["field"] == "radial" else 4000 if about["num_particles"] <= 13 else 500)


def cards():
    return {path.stem: json.loads(path.with_suffix(".json").read_text()) for path in sorted(HERE.glob("*.safetensors"))}


def check():
    bad = [name for name, card in cards().items() if (HERE / f"{name}.md").read_text() != text_of(name, card) or not (HERE / f"{name}.svg").exists()]
    return [f"{name}.md is not what {name}.json says: card.py --write-all" for name in bad]


def compare(name, num, num_data):
    """Differences beyond five standard errors of both; log-densities of another device may differ in their last digits only."""
    card = json.loads((HERE / f"{name}.json").read_text())["figures"]
    now, _ = evaluate(HERE / f"{name}.safetensors", num, num_data, 1000)
    problems, num_compared = [], 0
    for key in ("nll", "kl_direct", "log_z", "mean_energy_reweighted", "ess_fraction"):
        # What comes of the weights is known where enough samples carry them; kl_direct needs a known ln Z.
        if card.get(key) is None or now.get(key) is None or (key not in ("nll", "kl_direct") and num * card["ess_fraction"] < 200):
            continue
        # The error of an ESS also covers weights that were not seen (docs/method.md, section 7); a test must be able to
        # fail.
        cap = 0.05 if key == "ess_fraction" else math.inf
        error = math.hypot(*(min(cap, figures[f"{key}_standard_error"]) for figures in (card, now)))
        num_compared += 1
        if not abs(card[key] - now[key]) <= 5 * error:
            problems.append(f"{name}: {key} is {now[key]:.6g}, the card has {card[key]:.6g}; expected within {5 * error:.2g}")
    if num_compared < 1:
        problems.append(f"{name}: nothing could be compared")
    if abs(now["nll_refined"] - now["nll"]) > 0.01:
        problems.append(f"{name}: twice the steps change the likelihood by {abs(now['nll_refined'] - now['nll']):.2g}; allowed: 0.01")
    if now["log_prob_invariance_error"] > 1e-4:
        problems.append(f"{name}: log-densities change by {now['log_prob_invariance_error']:.2g} under symmetry operations; allowed: 1e-4")
    print(f"{name}: {num_compared} figures compared, n = {num}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?")
    for flag, kind in (("--model", str), ("--command", str), ("--seed", int), ("--seconds", float), ("--note", str)):
        parser.add_argument(flag, type=kind)
    parser.add_argument("-n", "--num", type=lambda text: int(float(text)), default=100000)
    parser.add_argument("--num-data", type=lambda text: int(float(text)), help="test configurations [as many as samples]")
    parser.add_argument("--evaluate-seed", type=int, default=0)
    for flag in ("--check", "--write-all", "--compare", "--quick"):
        parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    if args.write_all:
        for name, card in cards().items():
            (HERE / f"{name}.md").write_text(text_of(name, card))
        return 0
    problems = []
    if args.check:
        problems = check()
    elif args.compare:
        for name, card in cards().items():
            if args.name not in (None, name):
                continue
            # Quick: enough to see another model or a wrong figure, little enough for the deep fields. A sample of the
            # large ones takes a fifth of a second of a core: they are compared at full size only.
            if args.quick and card["num_particles"] > 13:
                continue
            quick = 2000 if card["field"] == "radial" else 300 if card["num_particles"] <= 4 else 100
            of = card["figures"]
            problems += compare(name, quick, quick) if args.quick else compare(name, of["num_samples"], of["num_data"])
    elif args.name:
        add(args)
    else:
        parser.error("the name of a model is missing")
    for problem in problems:
        print(f"card.py: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
