"""W2 of pair distances and aligned W2 by NumPy and SciPy, for tests/compare/test_compare.c: reads num, N = 4, D = 2 and two sets as text, prints
both. Exit code 77: SciPy is not there (python3 -m pip install scipy)."""
import itertools
import sys

try:
    import numpy as np
    from scipy.optimize import linear_sum_assignment
except ImportError:
    sys.exit(77)

numbers = np.array(open(sys.argv[1]).read().split(), dtype=float)
num, particles, dim = numbers[:3].astype(int)
a, b = numbers[3:].reshape(2, num, particles, dim)


def pair_distances(x):
    i, j = np.triu_indices(particles, 1)
    return np.sort(np.linalg.norm(x[:, i] - x[:, j], axis=-1).ravel())


def square(z, x):
    """Over all permutations; the best orthogonal map by the singular values of the covariance (Kabsch, reflections included)."""
    best = max(np.linalg.svd(z.T @ x[list(p)], compute_uv=False).sum() for p in itertools.permutations(range(particles)))
    return (z**2).sum() + (x**2).sum() - 2 * best


cost = np.array([[square(z, x) for x in b] for z in a])
rows, columns = linear_sum_assignment(cost)
print(np.sqrt(np.mean((pair_distances(a) - pair_distances(b)) ** 2)), np.sqrt(cost[rows, columns].mean()))
