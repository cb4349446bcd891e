"""Free energies by pymbar, for tests/estimate/test_free_energy.c: reads K, N_k and u_kn as text, prints f_k, the matrix of errors, and BAR of the
first two states. Exit code 77: pymbar is not there (python3 -m pip install pymbar)."""
import contextlib
import io
import sys

try:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import numpy as np
        import pymbar
        from pymbar import other_estimators
except ImportError:
    sys.exit(77)

numbers = np.array(open(sys.argv[1]).read().split(), dtype=float)
num_states = int(numbers[0])
counts = numbers[1 : 1 + num_states].astype(int)
energy = numbers[1 + num_states :].reshape(num_states, counts.sum())
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    mbar = pymbar.MBAR(energy, counts, relative_tolerance=1e-12)
    result = mbar.compute_free_energy_differences()
    forward = energy[1, : counts[0]] - energy[0, : counts[0]]
    second = slice(counts[0], counts[0] + counts[1])
    reverse = energy[0, second] - energy[1, second]
    bar = other_estimators.bar(forward, reverse, relative_tolerance=1e-14)
out = list(result["Delta_f"][0]) + list(result["dDelta_f"].ravel()) + [bar["Delta_f"], bar["dDelta_f"]]
print(" ".join(repr(float(v)) for v in out))
