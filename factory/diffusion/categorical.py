"""Categorical diffusion with uniform noise (Hoogeboom et al. 2021), at a cost linear in the classes.

A voxel has one of N classes. From step s to a later step t it keeps its class with probability
alpha = abar_t / abar_s and else takes one of all N evenly:

    q(x_t = k | x_s = j) = alpha [k = j] + (1 - alpha) / N

Given x_t = j and x_0 = d, Bayes gives for x_s

    q(k) = A_k B_kd / Z_jd,   A_k = alpha [k = j] + a,   B_kd = abar_s [k = d] + b,
    a = (1 - alpha) / N,   b = (1 - abar_s) / N,   Z_jd = abar_t [j = d] + c,   c = (1 - abar_t) / N

because A and B compose to the t-step kernel. A network predicts p(d) for x_0, and with
w_d = p(d) / Z_jd the sum over d has a closed form, exact and normalised:

    p(k) = sum_d p(d) q(k | j, d) = A_k (abar_s w_k + b sum_d w_d)

`draw` does not even form p: it draws d from the network's p(d), then x_s from q(. | j, d), which
is a mixture of three: stay at j, go to d, or any class evenly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from factory.diffusion.chance import uniform

__all__ = ["Categorical"]

Labels = Int64[Tensor, "b *space"]
Scores = Float[Tensor, "b k *space"]
Times = Int64[Tensor, " b"]


@dataclass(frozen=True, eq=False, slots=True)
class Categorical:
    """The process over `classes` classes under a schedule `alpha_bar` of T + 1 values."""

    classes: int
    alpha_bar: Float[Tensor, " steps_and_one"]

    @property
    def steps(self) -> int:
        """T."""
        return len(self.alpha_bar) - 1

    def noised(self, x0: Labels, t: Times, generators: Sequence[torch.Generator]) -> Labels:
        """Draw x_t given x_0: each voxel keeps its class with probability `alpha_bar[t]`."""
        chance = uniform(generators, x0)
        kept = self._at(t, x0)
        # what is left of the chance above `kept` is itself even, and picks the new class
        other = ((chance - kept) / (1 - kept).clamp_min(1e-12) * self.classes).long().clamp(0, self.classes - 1)
        return torch.where(chance < kept, x0, other)

    def pure_noise(self, like: Labels, generators: Sequence[torch.Generator]) -> Labels:
        """Draw x_T, every class evenly, in the shape of `like`."""
        return (uniform(generators, like) * self.classes).long().clamp_max(self.classes - 1)

    def posterior(self, x_t: Labels, p: Scores, t: Times, s: Times) -> Scores:
        """Distribution of x_s given x_t and the distribution p of x_0; 0 <= s < t."""
        alpha, _, kept_s, a, b, c = self._numbers(t, s, p)
        here = x_t[:, None]
        w = p / c
        w.scatter_(1, here, p.gather(1, here) / (c + alpha * kept_s))
        total = w.sum(1, keepdim=True)
        q = w.mul_(kept_s).add_(b * total)
        at_x_t = q.gather(1, here) * (alpha + a)
        return q.mul_(a).scatter_(1, here, at_x_t)

    def draw(self, x_t: Labels, logits: Scores, jump: tuple[int, int], generators: Sequence[torch.Generator]) -> Labels:
        """Draw x_s given x_t and the network's logits for x_0, for a jump (t, s); at s = 0 this is x_0."""
        t, s = (torch.full(x_t.shape[:1], step, device=x_t.device) for step in jump)
        d = _drawn(logits, uniform(generators, x_t))
        if jump[1] == 0:
            return d
        alpha, _, kept_s, a, b, c = (number[:, 0] for number in self._numbers(t, s, logits))
        same = (x_t == d).to(c.dtype)
        stays, goes = alpha * (kept_s * same + b), a * kept_s
        chance = uniform(generators, x_t) * (alpha * kept_s * same + c)
        even = ((chance - stays - goes) / (self.classes * a * b) * self.classes).long().clamp(0, self.classes - 1)
        return torch.where(chance < stays, x_t, torch.where(chance < stays + goes, d, even))

    def divergence(self, x0: Labels, x_t: Labels, logits: Scores, t: Times) -> Float[Tensor, "b *space"]:
        """KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) of each voxel in nats; at t = 1 it is -log p(x_0).

        Its mean over t = 1..T, times T, is the bound on -log p(x_0), but for the constant at T.
        """
        s = t - 1
        alpha, _, kept_s, a, b, c = self._numbers(t, s, logits)
        log_p = logits.log_softmax(1)
        j, d = x_t[:, None], x0[:, None]
        last = -log_p.gather(1, d)
        b = b.masked_fill(b == 0, 1.0)  # s = 0, where `last` is taken: keeps what is thrown away finite
        same = (j == d).to(log_p.dtype)
        z_d = alpha * kept_s * same + c
        p = log_p.exp()
        p_j = p.gather(1, j)
        total = (1 - p_j) / c + p_j / (alpha * kept_s + c)
        base = b * total
        # log q / p without A_k, which both share; f at k = j and k = d differs from that of all others
        rest = torch.log(b / z_d) - torch.log(p * (kept_s / c) + base)
        w_j, w_d = p_j / (alpha * kept_s + c), p.gather(1, d) / z_d
        f_j = torch.log((kept_s * same + b) / z_d) - torch.log(kept_s * w_j + base)
        f_d = torch.log((kept_s + b) / z_d) - torch.log(kept_s * w_d + base)
        others = rest.sum(1, keepdim=True) - rest.gather(1, j) - (1 - same) * rest.gather(1, d)
        at_j = (alpha + a) * (kept_s * same + b) * f_j
        at_d = (1 - same) * a * (kept_s + b) * f_d
        kl = (at_j + at_d + a * b * others) / z_d
        final = (s == 0).view(-1, *[1] * (kl.ndim - 1))
        return torch.where(final, last, kl)[:, 0]

    def _at(self, t: Times, like: Tensor) -> Float[Tensor, "b *ones"]:
        """`alpha_bar[t]` in single precision, to be broadcast over the voxels of `like`."""
        return self.alpha_bar.to(t.device)[t].float().view(-1, *[1] * (like.ndim - 1))

    def _numbers(self, t: Times, s: Times, like: Scores) -> tuple[Float[Tensor, "b *ones"], ...]:
        """alpha, abar_t, abar_s, a, b, c as in the module's text, from double precision."""
        table = self.alpha_bar.to(t.device).double()
        kept_t, kept_s = table[t], table[s]
        alpha = kept_t / kept_s
        spread = [(1 - kept) / self.classes for kept in (alpha, kept_s, kept_t)]
        return tuple(
            number.to(torch.float32 if like.dtype != torch.float64 else torch.float64).view(-1, *[1] * (like.ndim - 1))
            for number in (alpha, kept_t, kept_s, *spread)
        )


def _drawn(logits: Scores, chance: Float[Tensor, "b *space"]) -> Labels:
    """One class of each voxel, drawn from the softmax of its logits by inversion."""
    cumulated = logits.float().softmax(1).cumsum_(1)
    # counted in 16 bits: the sum would otherwise widen every one of them to 64
    below = (cumulated < (chance * cumulated[:, -1])[:, None]).sum(1, dtype=torch.int16)
    return below.long().clamp_max_(logits.shape[1] - 1)
