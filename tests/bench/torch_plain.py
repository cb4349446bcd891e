#!/usr/bin/env python3
"""Peer: the authors' field in PyTorch as its users write it.

All ordered pairs, a tensor [B, N, N-1, K] of normalised Gaussians and its derivative, matrix products with the weights
[K, M] and only then the time Gaussians [M]; closed-form divergence; RK4 as a Python loop; training by autograd through
the discretised flow (DTO). Written from the formulas; the derivative of the normaliser is the correct one.
"""

import torch

import peer

# Saved activations of one training step are kept below this; a larger batch is split and its gradients summed, which
# costs nothing (checkpointing would compute the forward pass twice).
ACTIVATION_BYTES = 4 * 2**30


class Field(torch.nn.Module):
    def __init__(self, system, p, dtype=torch.float32):
        super().__init__()
        self.system = system
        for name in peer.TRAINED:
            setattr(self, name, torch.nn.Parameter(torch.tensor(p[name], dtype=dtype)))
        self.distance_centers = torch.tensor(p["distance_centers"], dtype=dtype)
        self.time_centers = torch.tensor(p["time_centers"], dtype=dtype)
        self.is_off_diagonal = ~torch.eye(system.num_particles, dtype=torch.bool)

    def forward(self, t, x):
        """x [B, N*D] -> velocity [B, N*D], divergence [B]."""
        n, dim = self.system.num_particles, self.system.space_dim
        x = x.view(-1, n, dim)
        r = (x.unsqueeze(2) - x.unsqueeze(1))[:, self.is_off_diagonal].view(-1, n, n - 1, dim)
        d = r.pow(2).sum(dim=-1, keepdim=True).sqrt()

        inv_gamma = torch.exp(-self.distance_log_gammas)
        scaled = (d - self.distance_centers) * inv_gamma
        g = torch.exp(-(scaled**2))
        dg = -2.0 * scaled * inv_gamma * g
        norm = peer.RBF_EPSILON + g.sum(dim=-1, keepdim=True)
        rbf = g / norm
        drbf = (dg - rbf * dg.sum(dim=-1, keepdim=True)) / norm

        time_g = torch.exp(-(((t - self.time_centers) * torch.exp(-self.time_log_gammas)) ** 2))
        time_rbf = time_g / (peer.RBF_EPSILON + time_g.sum())

        phi = (((rbf + self.importance**2) @ self.weights + self.bias) * time_rbf).sum(dim=-1, keepdim=True)
        dphi = ((drbf @ self.weights) * time_rbf).sum(dim=-1, keepdim=True)
        velocity = (r * phi).sum(dim=2).view(-1, n * dim)
        divergence = (d * dphi + dim * phi).flatten(1).sum(dim=1)
        return velocity, divergence


def solve(field, x, direction):
    """RK4 over t in [0, 1]: end state [B, N*D] and log|det| [B]."""
    log_det = torch.zeros(len(x), dtype=x.dtype)
    h = direction / peer.NUM_STEPS
    for step in range(peer.NUM_STEPS):
        t = step * h if direction > 0 else 1.0 + step * h
        k1, l1 = field(t, x)
        k2, l2 = field(t + h / 2, x + h / 2 * k1)
        k3, l3 = field(t + h / 2, x + h / 2 * k2)
        k4, l4 = field(t + h, x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        log_det = log_det + h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
    return x, log_det


def prior_log_prob(system, z):
    return -0.5 * z.pow(2).sum(dim=1) - peer.prior_constant(system)


def sample(field, z):
    """x [B, N*D] and its log_prob [B] from latents z."""
    with torch.no_grad():
        x, log_det = solve(field, z, +1)
        return x, prior_log_prob(field.system, z) - log_det


def nll_sum(field, x):
    z, log_det = solve(field, x, -1)
    return -(prior_log_prob(field.system, z) + log_det).sum()


def prior_draw(system, batch):
    z = torch.randn(batch, system.num_particles, system.space_dim)
    return (z - z.mean(dim=1, keepdim=True)).flatten(1)


class PlainPeer(peer.Peer):
    name = "torch_plain"

    def versions(self):
        return {**super().versions(), "torch": torch.__version__, "torch_threads": torch.get_num_threads()}

    def best_batch(self, task, system):
        return {"dw4": 256, "lj13": 64, "lj55": 8}[system.name]

    def prepare(self, task, system, batch):
        torch.manual_seed(0)
        field = Field(system, peer.parameters(system))
        if task == "sample":

            def call():
                _, log_prob = sample(field, prior_draw(system, batch))
                return log_prob.mean().item()

            return call

        data = torch.tensor(peer.prior_sample(system, 4 * batch, seed=5)).flatten(1)
        adam = torch.optim.Adam(field.parameters(), lr=peer.LEARNING_RATE)
        n = system.num_particles
        # About 25 tensors of the size of [B, N, N-1, K] are saved in each of the 4 * NUM_STEPS evaluations.
        per_sample = 4 * 25 * n * (n - 1) * peer.NUM_DISTANCE * 4 * peer.NUM_STEPS
        chunk = max(1, min(batch, ACTIVATION_BYTES // per_sample))

        def call():
            x = data[torch.randint(len(data), (batch,))]
            adam.zero_grad()
            total = 0.0
            for part in x.split(chunk):
                loss = nll_sum(field, part) / batch
                loss.backward()
                total += loss.item()
            adam.step()
            return total

        return call


def check_sample(system, p, z):
    x, log_prob = sample(Field(system, p), torch.tensor(z).flatten(1))
    return x.view(z.shape).numpy(), log_prob.numpy()


def check_gradient(system, p, x):
    field = Field(system, p)
    loss = nll_sum(field, torch.tensor(x).flatten(1)) / len(x)
    loss.backward()
    return loss.item(), {name: getattr(field, name).grad.numpy() for name in peer.TRAINED}


def make_peer(options):
    torch.set_num_threads(options.threads)
    return PlainPeer()


if __name__ == "__main__":
    peer.main(__doc__, make_peer, lambda p: peer.check(p.name, check_sample, check_gradient))
